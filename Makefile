# `make demo` and `make test` need Python 3.11 or later, make and a package index; everything else is installed here.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
READY := .venv/.ready
# snakemake looks for `hcep` and its tools on the path of the environment that runs it
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: demo demo-all demo-wide docs test test-faults test-cluster lint clean
demo: $(READY)
	$(BIN)/snakemake --cores all
	$(BIN)/snakemake --report results/demo/report.html --report-stylesheet workflow/report/report.css --report-metadata workflow/report/metadata.yaml
	@echo
	@echo "table    results/demo/summary.csv"
	@echo "figures  results/demo/figures/"
	@echo "report   results/demo/report.html"

# every method of the config on the demo, and the paper's tables with the demo in MAFW's place
demo-all: $(READY)
	$(BIN)/snakemake --cores all results/demo/summary.csv table2 table5 table6 table7 fig4 table8 --configfile config/demo_all.yaml
	$(BIN)/python benchmarks/golden.py
	@echo
	@echo "tables   results/tables/"

# the methods on cached features on 24 class splits of two other sets of generated clips
demo-wide: $(READY)
	$(BIN)/snakemake results/demo_wide_101/summary.csv results/demo_wide_102/summary.csv posthoc_demo_wide_101 posthoc_demo_wide_102 --cores all --quiet reason --configfile config/demo_wide.yaml
	$(BIN)/python benchmarks/demo_wide.py
	@echo
	@echo "page     docs/demo_wide.md"

# the pages of docs/, README.md and config/README.md as a site that asks no other machine for anything
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo
	@echo "site     site/index.html"

test: $(READY)
	$(BIN)/pytest -n 2 --dist worksteal

# kills, damage and shortage in numbers that `make test` has no time for
test-faults: $(READY)
	$(BIN)/pytest -n 2 --dist worksteal -m faults

# the shipped profile on a real Slurm of one node, which is installed for it and removed again
test-cluster: $(READY)
	tests/cluster/run

lint: $(READY)
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --no-cache --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint
	$(BIN)/mypy

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

clean:
	rm -rf results/demo results/demo_wide_* resources/demo resources/demo_wide_* resources/encoders/demo logs work
