#!/usr/bin/env bash
# soundfile 0.14.0 (libsndfile 1.2.2): 12 s of MP3 with a variable rate in a WAV file, as ffmpeg writes it (its header's
# byte rate is 0 and its `fact` chunk has the right number of samples). `info` tells 3 to 4 s, reading ends there, and
# there is no error. ffmpeg reads all 12 s. With a constant rate libsndfile reads the whole.
. "$(dirname "$0")/common.bash" soundfile==0.14.0 numpy==2.4.0 imageio-ffmpeg==0.8.1
"$python" - <<'PY'
import subprocess

import imageio_ffmpeg
import soundfile

ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
noise = ["-f", "lavfi", "-i", "anoisesrc=d=12:r=44100:a=0.3:seed=1"]
found = {}
for name, rate in (("variable", ["-q:a", "7"]), ("constant", ["-b:a", "64k"])):
    subprocess.run([ffmpeg, "-v", "error", *noise, "-c:a", "libmp3lame", *rate, f"{name}.wav"], check=True)
    raw = subprocess.run([ffmpeg, "-v", "error", "-i", f"{name}.wav", "-f", "s16le", "pipe:1"], check=True, capture_output=True)
    sound, hertz = soundfile.read(f"{name}.wav")
    found[name] = (len(sound) / hertz, len(raw.stdout) / 2 / 44100)
    print(f"{name} rate: libsndfile {soundfile.__libsndfile_version__} reads {found[name][0]:.2f} s, ffmpeg {found[name][1]:.2f} s")
assert found["variable"][0] < 6 < 11.9 < min(found["variable"][1], *found["constant"]), "the behaviour has changed"
PY
