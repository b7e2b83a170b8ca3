#!/usr/bin/env bash
# snakemake 9.27.1: a job whose output is marked `update()` fails. The old output is put back, and the new parameters are
# noted beside it: the next start takes the old file for the result of the new parameters and runs nothing.
. "$(dirname "$0")/common.bash" snakemake==9.27.1
cat > Snakefile <<'S'
rule all:
    input: "out"
rule make:
    output: update("out")
    params: value=config["value"]
    shell: "test {params.value} != bad && echo {params.value} > {output}"
S
say() { venv/bin/snakemake --cores 1 --config value="$1" > log 2>&1 && echo "value $1: exit 0, out: $(cat out)" || echo "value $1: exit $?, out: $(cat out)"; }
say good
say bad
grep -q "Restored previous version of out" log || { echo "the behaviour has changed"; exit 1; }
say bad | tee again
grep -q "exit 0, out: good" again && grep -q "Nothing to be done" log || { echo "the behaviour has changed"; exit 1; }
