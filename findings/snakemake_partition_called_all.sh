#!/usr/bin/env bash
# snakemake 9.27.1: text in `default-resources` is evaluated as Python. A Slurm partition called `debug` is taken as text,
# since Python has no such name. One called `all` (or `sum`, `max`, `id`) becomes a function of Python, and even a dry run
# ends with an error. With two kinds of quotes it is text.
. "$(dirname "$0")/common.bash" snakemake==9.27.1
cat > Snakefile <<'S'
rule make:
    output: "out"
    shell: "echo {resources.slurm_partition} > {output}"
S
mkdir profile
try() { printf 'default-resources:\n  slurm_partition: %s\n' "$1" > profile/config.yaml; venv/bin/snakemake -n --cores 1 --profile profile > log 2>&1 && code=0 || code=$?; echo "slurm_partition: $1 -> exit $code: $(grep -E 'slurm_partition=|Error:' log | tail -1)"; }
try debug; [ "$code" = 0 ] || { echo "the behaviour has changed"; exit 1; }
try all; [ "$code" != 0 ] || { echo "the behaviour has changed"; exit 1; }
try "\"'all'\""; [ "$code" = 0 ] || { echo "the behaviour has changed"; exit 1; }
