#!/usr/bin/env bash
# snakemake 9.27.1: an input function that raises an error ends the run where the next file is asked for by name. Through a
# rule (`all`) the same error is not shown while that file exists: "Nothing to be done", exit 0. So a check that stands in an
# input function is silent where the results are there.
. "$(dirname "$0")/common.bash" snakemake==9.27.1
cat > Snakefile <<'S'
rule all:
    input: "table.txt"

def measurements(wildcards):
    if config.get("refuse"):
        raise ValueError("these measurements were changed")
    return "measurements.txt"

rule clean:
    input: measurements
    output: "clean.txt"
    shell: "cp {input} {output}"

rule table:
    input: "clean.txt"
    output: "table.txt"
    shell: "cp {input} {output}"
S
echo 1 > measurements.txt
venv/bin/snakemake --cores 1 > log 2>&1
try() {
    venv/bin/snakemake -n "$1" --config refuse=1 > log 2>&1 && code=0 || code=$?
    echo "snakemake -n $1: exit $code, $(grep -oE 'ValueError.*|Nothing to be done' log)"
    [ "$code" = "$2" ] || { echo "the behaviour has changed"; exit 1; }
}
try table.txt 1
try all 0
rm table.txt
echo "table.txt removed"
try all 1
