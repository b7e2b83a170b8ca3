#!/usr/bin/env bash
# snakemake 9.27.1: an input that is dated in the future and marked `ancient()`, "whose date does not count". The job runs,
# and its output is then deleted because it is older than that input; the run ends with an error, each time anew.
. "$(dirname "$0")/common.bash" snakemake==9.27.1
printf 'rule all:\n    input: ancient("in")\n    output: "out"\n    shell: "echo made > {output}"\n' > Snakefile
echo x > in
touch -d '+2 days' in
for run in 1 2; do
  status=0
  venv/bin/snakemake --cores 1 out > log 2>&1 || status=$?
  echo "run $run: exit $status, output $([ -e out ] && echo kept || echo deleted): $(grep -io 'has older modification time[^.(]*' log | head -1)"
  [ "$status" != 0 ] && [ ! -e out ] && grep -q "has older modification time" log || { echo "the behaviour has changed"; exit 1; }
done
touch in
venv/bin/snakemake --cores 1 out > log 2>&1 && echo "dated now: output $(cat out)"
