"""Compare a run of `make demo-all` with the committed one, and with chance; or write the committed one anew.

python benchmarks/golden.py              exits with 1 where a number left its tolerance, and names rows at chance
python benchmarks/golden.py --write      results/demo/summary.csv -> docs/demo_all.csv and docs/demo_all.md

The tolerances are for other machines and versions of libraries, whose rounding a short training magnifies.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SUMMARY, GOLDEN, PAGE = (ROOT / name for name in ("results/demo/summary.csv", "docs/demo_all.csv", "docs/demo_all.md"))
HEAD = """# Every method on the demo

What `make demo-all` printed. The demo stands in MAFW's place and its encoders are tiny stand-ins: these tables show
that every row runs and what its numbers look like; beside the paper's they mean nothing. [demo_all.csv](demo_all.csv)
holds the numbers, and `python benchmarks/golden.py` compares a later run with them."""
TABLES = ("table2", "table5", "table6", "table7", "fig4", "table8")
METRICS = ("auroc", "oscr", "accuracy")
TOLERANCE = {"auroc": 5.0, "oscr": 6.0, "accuracy": 8.0}  # points; one of 64 test clips is 1.6


def read(path: Path) -> dict[tuple[str, str], dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return {(row["method"], row["openness"]): row for row in csv.DictReader(handle)}


def write() -> None:
    """Keep the numbers, and a page with the paper's tables as they came out."""
    columns = ("method", "openness", "known", "splits", "seeds", *METRICS)
    with GOLDEN.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(read(SUMMARY).values())
    parts = [(ROOT / f"results/tables/{name}.md").read_text(encoding="utf-8").strip() for name in TABLES]
    PAGE.write_text("\n\n".join([HEAD, *parts]) + "\n", encoding="utf-8")


def at_chance(row: dict[str, str]) -> bool:
    """Whether a level's accuracy over K known classes is not above 1 / K."""
    return bool(row["known"]) and float(row["accuracy"]) <= 100 / int(row["known"])


def compare() -> list[str]:
    """What is out of tolerance, or not above chance although the committed run was."""
    found, wanted = read(SUMMARY), read(GOLDEN)
    wrong = [f"{method} {openness}: no such row" for method, openness in sorted(set(wanted) - set(found))]
    for key, row in sorted(found.items()):
        if at_chance(row):
            print(f"{' '.join(key)}: accuracy {row['accuracy']} is not above chance, {100 / int(row['known']):.2f}")
            if key in wanted and not at_chance(wanted[key]):
                wrong.append(f"{' '.join(key)}: accuracy {row['accuracy']}, committed {wanted[key]['accuracy']}")
        for metric in METRICS if key in wanted else ():
            difference = float(row[metric]) - float(wanted[key][metric])
            if abs(difference) > TOLERANCE[metric]:
                wrong.append(
                    f"{' '.join(key)}: {metric} {row[metric]}, committed {wanted[key][metric]} ({difference:+.2f})"
                )
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write docs/demo_all.csv and docs/demo_all.md")
    if parser.parse_args().write:
        write()
    wrong = compare()
    print("\n".join(wrong) or f"all {len(read(SUMMARY))} rows are within tolerance")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
