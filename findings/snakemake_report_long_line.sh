#!/usr/bin/env bash
# snakemake 9.27.1 with docutils 0.22.4: a line of more than 10,000 letters in the text of a report, as a picture that is
# written into it, costs the whole text. The report is created with exit code 0 and without one word of the text; the only
# sign is a line on standard error.
. "$(dirname "$0")/common.bash" snakemake==9.27.1 docutils==0.22.4 pygments==2.19.2
cat > Snakefile <<'SMK'
report: "text.rst"
rule all:
    output: report("out.txt")
    shell: "echo made > {output}"
SMK
for length in 9000 11000; do
  printf 'These words come first.\n\n.. raw:: html\n\n   <img alt="" src="data:image/png;base64,%s">\n' "$(head -c $length /dev/zero | tr '\0' 'A')" > text.rst
  venv/bin/snakemake --cores 1 > log 2>&1
  status=0
  venv/bin/snakemake --report report.html > log 2>&1 || status=$?
  found=$(grep -c "These words come first" report.html || true)
  echo "a line of $length letters: exit $status, the text is $([ "$found" = 0 ] && echo missing || echo there): $(grep -o 'Line .*limit' log || echo 'nothing is said')"
  [ "$status" = 0 ] && [ "$found" = "$([ $length = 9000 ] && echo 1 || echo 0)" ] || { echo "the behaviour has changed"; exit 1; }
done
