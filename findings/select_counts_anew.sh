#!/usr/bin/env bash
# ffmpeg 9.0.2 of imageio-ffmpeg 0.8.1: H.264 that changes its size after 100 frames (legal: a new sequence parameter set).
# The filter graph is made anew there, and the frame counter `n` of `select` with it: eq(n,300) gives frame 400.
# Selecting by `pts` gives frame 300. The grey of a frame tells its number.
. "$(dirname "$0")/common.bash" imageio-ffmpeg==0.8.1 numpy==2.4.0
"$python" - <<'PY'
import subprocess

import imageio_ffmpeg
import numpy as np

ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()


def run(*words):
    return subprocess.run([ffmpeg, "-v", "error", "-y", *words], check=True, capture_output=True).stdout


stream = b""
for side, first, count in ((64, 0, 100), (128, 100, 400)):
    grey = f"color=black:s={side}x{side}:r=25:d={count / 25},format=yuv420p,geq=lum='16+(N+{first})/2.5':cb=128:cr=128"
    stream += run("-f", "lavfi", "-i", grey, "-c:v", "libx264", "-qp", "0", "-f", "h264", "pipe:1")
open("a.h264", "wb").write(stream)
run("-r", "25", "-i", "a.h264", "-c", "copy", "a.mkv")
found = {}
for term in ("eq(n,300)", "eq(pts,12000)"):
    raw = run("-copyts", "-i", "a.mkv", "-vf", f"select='{term}',scale=8:8,format=gray", "-fps_mode", "passthrough",
              "-frames:v", "1", "-f", "rawvideo", "pipe:1")
    grey = np.frombuffer(raw, np.uint8).mean() * 219 / 255
    found[term] = round(float(grey) * 2.5)
print(found)
assert abs(found["eq(n,300)"] - 400) <= 3 and abs(found["eq(pts,12000)"] - 300) <= 3, "the behaviour has changed"
PY
