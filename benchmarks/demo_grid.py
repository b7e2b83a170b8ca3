"""The demo's learning rates and epochs: one grid for all methods, judged on held-out known clips alone.

python benchmarks/demo_grid.py [--cores 2]    trains in ./work_grid, then writes docs/demo_grid.md

Every method runs every rate of GRID at a constant rate; the accuracy on held-out training speakers (known classes
only) is read after each of EPOCHS. A method's choice is its best mean over both openness levels; ties go to fewer
epochs, then to the smaller rate. No test clip and no unknown clip is read.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
GRID = [0.0005, 0.005, 0.02]
EPOCHS = [10, 20]
METHODS = ["hcep", "frozen_prompts", "arpl_mm", "linear_msp"]
LEVELS = ["k8u2", "k4u6"]


def overlay() -> dict:
    """A task like demo with held-out speakers and one method per rate."""
    base = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    rates = {f"{name}_{i}": base["methods"][name] | {"lr": lr} for name in METHODS for i, lr in enumerate(GRID)}
    task = base["task_definitions"]["demo"] | {
        "class_splits": "config/splits/demo.yaml",
        "splits": ["split1"],
        "val_fraction": 0.3,
        "methods": list(rates),
        "method_settings": {},
    }
    task["training"] = task["training"] | {"epochs": max(EPOCHS), "lr_step": max(EPOCHS)}
    return {"methods": rates, "task_definitions": {"demo_grid": task}}


def accuracy(history: Path, epoch: int) -> float | None:
    """Held-out accuracy after an epoch; None when the run diverged and left no history."""
    if not history.is_file():
        return None
    with history.open(newline="") as handle:
        rows = {int(float(row["epoch"])): row for row in csv.DictReader(handle)}
    return 100 * float(rows[epoch]["val_accuracy"])


def main() -> None:
    """Train the grid, read it, write the table and the choice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cores", type=int, default=2)
    cores = parser.parse_args().cores
    folder = Path("work_grid")
    folder.mkdir(exist_ok=True)
    for name in ("Snakefile", "workflow", "config", "profiles", "envs"):
        target = folder / name
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, dirs_exist_ok=True)
        else:
            shutil.copy(ROOT / name, target)
    (folder / "grid.yaml").write_text(yaml.safe_dump(overlay(), sort_keys=False))
    names = [f"{name}_{i}" for name in METHODS for i in range(len(GRID))]
    runs = {
        (name, level): f"results/demo_grid/{name}/{level}/split1/seed0/history.csv"
        for name in names
        for level in LEVELS
    }
    snakemake = [str(Path(sys.executable).with_name("snakemake")), "--cores", str(cores), "--keep-going"]
    # a diverged run fails by design: its cell says so
    subprocess.run([*snakemake, *runs.values(), "--configfile", "grid.yaml"], cwd=folder, check=False)
    lines = ["| method | lr | epochs | " + " | ".join(LEVELS) + " | mean |", "|---|---|---|---|---|---|"]
    chosen = {}
    for method in METHODS:
        best = None
        for i, lr in enumerate(GRID):
            for epoch in EPOCHS:
                values = [accuracy(folder / runs[f"{method}_{i}", level], epoch) for level in LEVELS]
                done = [value for value in values if value is not None]
                mean = sum(done) / len(LEVELS) if len(done) == len(LEVELS) else None
                cells = ["diverged" if value is None else f"{value:.1f}" for value in [*values, mean]]
                lines.append(f"| {method} | {lr} | {epoch} | " + " | ".join(cells) + " |")
                if mean is not None and (best is None or (mean, -epoch, -lr) > best[0]):
                    best = ((mean, -epoch, -lr), lr, epoch)
        if best is None:
            raise SystemExit(f"every run of {method} failed: see {folder}/logs/train/demo_grid/{method}_*")
        chosen[method] = best[1:]
    choice = [f"- `{name}`: lr {lr}, {epochs} epochs" for name, (lr, epochs) in chosen.items()]
    text = [
        "# The demo's learning rates and epochs",
        "",
        "Accuracy in percent on known clips of held-out training speakers (`val_fraction: 0.3`, split1, seed 0,",
        "constant rate, cosine scale 1), by `python benchmarks/demo_grid.py`. No test clip and no unknown clip enters.",
        "The best mean is taken per method; ties go to fewer epochs, then to the smaller rate.",
        "",
        *choice,
        "",
        *lines,
        "",
    ]
    (ROOT / "docs" / "demo_grid.md").write_text("\n".join(text))
    print("\n".join(text))


if __name__ == "__main__":
    main()
