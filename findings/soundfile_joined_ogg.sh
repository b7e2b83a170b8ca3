#!/usr/bin/env bash
# soundfile 0.14.0 (libsndfile 1.2.2): of two Ogg Vorbis streams in one file (a chain, RFC 3533 section 4) only the first is read.
# `info` tells 2.0 s for a file of 4.0 s, reading ends there, and there is no error and no warning. PyAV reads all 4 s.
. "$(dirname "$0")/common.bash" soundfile==0.14.0 numpy==2.4.0 av==18.1.0
"$python" - <<'PY'
import av
import numpy as np
import soundfile

for number, hertz in enumerate((400, 800)):
    tone = 0.3 * np.sin(2 * np.pi * hertz * np.arange(2 * 44100) / 44100)
    soundfile.write(f"{number}.ogg", tone, 44100, format="OGG", subtype="VORBIS")
with open("joined.ogg", "wb") as joined:
    for number in (0, 1):
        with open(f"{number}.ogg", "rb") as part:
            joined.write(part.read())
told = soundfile.info("joined.ogg").duration
read = len(soundfile.read("joined.ogg")[0]) / 44100
with av.open("joined.ogg") as container:
    peer = sum(frame.samples for frame in container.decode(audio=0)) / 44100
print(f"libsndfile {soundfile.__libsndfile_version__}: tells {told:.2f} s, reads {read:.2f} s; PyAV {av.__version__} reads {peer:.2f} s")
assert round(told, 2) == round(read, 2) == 2.0 and abs(peer - 4.0) < 0.05, "the behaviour has changed"
PY
