#!/usr/bin/env bash
# PyAV 18.1.0: an MPEG transport stream with 4 s of AAC at 48,000 Hz and then 4 s at 22,050 Hz. The stream tells a time
# for every n-th block only; between them the demuxer goes on in steps of 1,024/48,000 s, although a block now lasts
# 1,024/22,050 s. At each time that is told the packets jump ahead again. The blocks themselves have no gap.
. "$(dirname "$0")/common.bash" av==18.1.0 imageio-ffmpeg==0.8.1
ffmpeg=$("$python" -c "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())")
"$ffmpeg" -v error -f lavfi -i sine=frequency=400:sample_rate=48000:d=4 -c:a aac 1.ts
"$ffmpeg" -v error -f lavfi -i sine=frequency=800:sample_rate=22050:d=4 -c:a aac -output_ts_offset 4 2.ts
cat 1.ts 2.ts > a.ts
"$python" - <<'PY'
import av

with av.open("a.ts") as container:
    base = container.streams.audio[0].time_base
    times = [float(packet.pts * base) for packet in container.demux(audio=0) if packet.pts is not None]
late = [time for time in times if time > times[0] + 4.5]
steps = [round(1000 * (b - a), 1) for a, b in zip(late, late[1:])]
wrong = sum(abs(step - 21.3) < 0.2 for step in steps)
print(f"after the change: {len(steps)} steps, {wrong} of 21.3 ms, the largest {max(steps)} ms; a block lasts 46.4 ms")
assert wrong > 0.6 * len(steps) and max(steps) > 60, "the behaviour has changed"
PY
