#!/usr/bin/env bash
# One second of AAC in mp4, whose edit list says 1.000 s: ffmpeg 9.0.2 (imageio-ffmpeg 0.8.1) decodes it to 16,000 samples
# at 16 kHz, ffmpeg 4.2.2 (imageio-ffmpeg 0.4.5) keeps what the encoder filled up its last block with.
. "$(dirname "$0")/common.bash" imageio-ffmpeg==0.8.1
"$python" -m pip install -qq --target old imageio-ffmpeg==0.4.5
new=$("$python" -c "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())")
old=$(PYTHONPATH=old "$python" -c "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())")
"$new" -v error -f lavfi -i sine=frequency=400:sample_rate=44100:d=1 -ac 1 -c:a aac a.mp4
declare -A samples
for name in new old; do
  "${!name}" -v error -i a.mp4 -ar 16000 -f s16le -y a.raw
  samples[$name]=$(($(wc -c < a.raw) / 2))
  echo "$("${!name}" -version | head -1 | cut -d' ' -f1-3): ${samples[$name]} samples"
done
[ "${samples[new]}" = 16000 ] && [ "${samples[old]}" -gt 16200 ] || { echo "the behaviour has changed"; exit 1; }
