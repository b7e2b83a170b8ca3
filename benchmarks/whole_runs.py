"""What whole runs of the workflow take here and in another checkout, in turns; JSON lines.

python benchmarks/whole_runs.py CHECKOUT [demo] [tables] [dry_run]

`demo` is what `make demo` runs once everything is installed; `tables` are Tables 5 to 7 on one class split of the demo,
whose cache is there; `dry_run` is `benchmarks/dry_run.py` of both. Each side has a folder of its own with a copy of its
checkout. The lines have the seconds and jobs of both, their ratio, and whether the tables came out the same.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parents[1]
PARTS = ("demo", "tables", "dry_run")
CORES = str(len(os.sched_getaffinity(0)))
TABLES = [f"results/tables/table{number}.csv" for number in (5, 6, 7)]
ONE_SPLIT = {"task_definitions": {"demo": {"openness": ["k4u6"], "splits": ["split1"]}}}


def run(folder: Path, command: list[str]) -> tuple[float, int, str]:
    """Wall seconds of a command with the package of a folder, the number of jobs that ended, and what it said."""
    environment = os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()])
    start = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{shlex.join(command)} in {folder}:\n{done.stdout[-3000:]}")
    return seconds, len(re.findall(r"^Finished jobid", done.stdout, re.MULTILINE)), done.stdout


def copy_of(checkout: Path, folder: Path) -> Path:
    """The files that a run of the workflow needs."""
    for name in ("Snakefile", "Makefile", "workflow", "config", "profiles", "envs", "hcep", "benchmarks"):
        source = checkout / name
        if not source.exists():
            continue  # environments lay in envs/ up to 0.1, and lie in workflow/ since
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, folder / name, ignore=skip) if source.is_dir() else shutil.copy(source, folder)
    (folder / "one_split.yaml").write_text(yaml.safe_dump(ONE_SPLIT), encoding="utf-8")
    return folder


def demo(folder: Path) -> tuple[float, int, bytes]:
    """The commands of `make demo`."""
    recipe = (folder / "Makefile").read_text(encoding="utf-8").partition("\ndemo:")[2].partition("\n\n")[0]
    commands = [shlex.split(line) for line in re.findall(r"^\t\$\(BIN\)/(snakemake .*)$", recipe, re.MULTILINE)]
    took = [run(folder, [CORES if word == "all" else word for word in command]) for command in commands]
    summary = (folder / "results/demo/summary.csv").read_bytes()
    return sum(one[0] for one in took), sum(one[1] for one in took), summary


def tables(folder: Path) -> tuple[float, int, bytes]:
    """Tables 5 to 7, after the clips of the demo are decoded and encoded."""
    with_files = ["--cores", CORES, "--configfile", "config/demo_all.yaml", "one_split.yaml"]
    shutil.rmtree(folder / "results", ignore_errors=True)
    run(folder, ["snakemake", *(f"resources/demo/features/demo/{n:03}-of-002.h5" for n in (0, 1)), *with_files])
    seconds, jobs, _ = run(folder, ["snakemake", *TABLES, *with_files])
    return seconds, jobs, b"".join((folder / name).read_bytes() for name in TABLES)


def dry_run(folder: Path) -> list[dict[str, Any]]:
    """What a checkout's own benchmark of dry runs prints."""
    _, _, said = run(folder, [sys.executable, "benchmarks/dry_run.py"])
    return [json.loads(line) for line in said.splitlines() if line.startswith("{")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=Path, help="another checkout, for instance of the build before")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)}; default: all")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        sides = {}
        for side, checkout in (("other", given.checkout), ("here", HERE)):
            (Path(name) / side).mkdir()
            sides[side] = copy_of(checkout.resolve(), Path(name) / side)
        for part, measure in (("demo", demo), ("tables", tables)):
            if given.parts and part not in given.parts:
                continue
            found = {side: measure(folder) for side, folder in sides.items()}
            line: dict[str, Any] = {"benchmark": "whole_runs", "part": part}
            for side, (seconds, jobs, _) in found.items():
                line |= {f"{side}_s": round(seconds, 1), f"{side}_jobs": jobs}
            line |= {"ratio": round(found["here"][0] / found["other"][0], 3)}
            line |= {"same_tables": found["here"][2] == found["other"][2]}
            print(json.dumps(line), flush=True)
        if not given.parts or "dry_run" in given.parts:
            both = {side: dry_run(folder) for side, folder in sides.items()}
            for other, here in zip(both["other"], both["here"], strict=True):
                line = {"benchmark": "whole_runs", "part": f"dry_run, {here['methods']} methods"}
                for side, values in (("other", other), ("here", here)):
                    line |= {f"{side}_s": values["dry_run_s"], f"{side}_jobs": values["jobs"]}
                print(json.dumps(line | {"ratio": round(here["dry_run_s"] / other["dry_run_s"], 3)}), flush=True)


if __name__ == "__main__":
    main()
