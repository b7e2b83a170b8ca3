#!/usr/bin/env bash
# transformers 5.23.0 looks for an optional package called `kernels` and takes any module of that name for it: a kernels.py
# beside a script is run when wav2vec 2.0's model code is imported, and nothing is said.
. "$(dirname "$0")/common.bash" torch==2.13.0 numpy==2.4.0 transformers==5.23.0
mkdir with without
echo 'print("kernels.py of the script was run")' > with/kernels.py
for folder in with without; do
  echo 'from transformers import Wav2Vec2Model' > "$folder/script.py"
done
with=$("$python" with/script.py 2>&1 | grep -c "was run" || true)
without=$("$python" without/script.py 2>&1 | grep -c "was run" || true)
echo "runs of a kernels.py beside the script: $with; elsewhere: $without"
[ "$with" -ge 1 ] && [ "$without" = 0 ] || { echo "the behaviour has changed"; exit 1; }
