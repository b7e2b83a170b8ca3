#!/usr/bin/env bash
# PyAV 18.1.0: a Matroska file whose H.264 picture starts at 0 s and whose sound starts at 0.5 s. Opened with the option
# codec_whitelist=none (a caller that only wants the packets), the picture's `start_time` is 500 ms and the file's too:
# the value of the other stream is filled in. Its first packet says 0. Opened without the option both are 0.
. "$(dirname "$0")/common.bash" av==18.1.0 imageio-ffmpeg==0.8.1
ffmpeg=$("$python" -c "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())")
"$ffmpeg" -v error -f lavfi -i testsrc=s=64x64:r=10:d=2 -itsoffset 0.5 -f lavfi -i sine=d=1 -c:v libx264 -bf 2 -c:a pcm_s16le a.mkv
"$python" - <<'PY'
import av

found = {}
for name, options in (("plain", {}), ("undecoded", {"codec_whitelist": "none"})):
    with av.open("a.mkv", options=options) as container:
        picture = container.streams.video[0]
        first = min(packet.pts for packet in container.demux(picture) if packet.pts is not None)
        found[name] = (container.start_time, picture.start_time, first)
    print(f"{name}: file starts at {found[name][0]} us, picture at {found[name][1]} ms, its first packet at {first} ms")
assert found == {"plain": (0, 0, 0), "undecoded": (500000, 500, 0)}, "the behaviour has changed"
PY
