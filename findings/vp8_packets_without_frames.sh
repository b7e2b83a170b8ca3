#!/usr/bin/env bash
# VP8 in WebM, two passes with alternate reference frames (libvpx in ffmpeg 9.0.2 of imageio-ffmpeg 0.8.1): the file has
# more packets than frames. A hidden packet carries the same time as the shown one behind it, and nothing marks it:
# PyAV 18.1.0 gives neither `is_discard` nor `is_corrupt`. Counting packets moves every later frame.
. "$(dirname "$0")/common.bash" av==18.1.0 imageio-ffmpeg==0.8.1
ffmpeg=$("$python" -c "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())")
for pass in 1 2; do
  "$ffmpeg" -v error -y -f lavfi -i testsrc2=s=96x96:r=25:d=20 -c:v libvpx -b:v 200k -auto-alt-ref 1 -lag-in-frames 25 \
    -arnr-maxframes 7 -arnr-strength 5 -deadline good -cpu-used 4 -pass $pass a.webm
done
"$python" - <<'PY'
import av

with av.open("a.webm") as container:
    packets = [packet for packet in container.demux(video=0) if packet.size]
with av.open("a.webm") as container:
    frames = sum(1 for _ in container.decode(video=0))
times = [packet.pts for packet in packets]
marked = sum(packet.is_discard or packet.is_corrupt for packet in packets)
print(f"{len(packets)} packets, {len(set(times))} different times, {frames} frames, {marked} packets marked")
assert frames == 500 == len(set(times)) < len(packets) and marked == 0, "the behaviour has changed"
PY
