"""Time to list the clips of releases of the real size, label files invented, no media: MAFW's 10,045, MOSEI's 23,259.

python benchmarks/manifests.py    prints one JSON line per corpus; target: under 10 s each
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from releases import cmu_mosei, mafw  # noqa: E402 - the generators of the tests


def timed(dataset: str, root: Path, options: dict[str, object]) -> dict[str, object]:
    """Run `hcep manifest` as the workflow does, and count its rows."""
    output = root.parent / f"{dataset}.tsv"
    settings = json.dumps({"adapter": dataset, "options": options, "text": "manifest"})
    line = [str(Path(sys.executable).with_name("hcep")), "manifest", "--dataset", dataset, "--root", str(root)]
    start = time.perf_counter()
    subprocess.run([*line, "--settings", settings, "--output", str(output)], check=True, capture_output=True)
    seconds = time.perf_counter() - start
    with output.open(encoding="utf-8") as handle:
        rows = sum(1 for _ in handle) - 1
    return {"benchmark": "manifest", "corpus": dataset, "clips": rows, "seconds": round(seconds, 2)}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        # 11 single classes and 32 compound ones; the list without captions has every clip
        mafw.make_release(Path(folder) / "mafw", clips_per_class=234, compound=32, media=False, tables=False)
        options: dict[str, object] = {"list": "single", "captions": "without", "keep_neutral": True}
        print(json.dumps(timed("mafw", Path(folder) / "mafw", options)), flush=True)
        cmu_mosei.make_release(Path(folder) / "cmu_mosei", clips_per_class=3673, media=False)
        print(json.dumps(timed("cmu_mosei", Path(folder) / "cmu_mosei", {})), flush=True)


if __name__ == "__main__":
    main()
