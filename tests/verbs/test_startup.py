"""What starts at once: help and the verbs without a model; what does not says what it waited for."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
from sample_model import METHODS, SHARD
from sample_scores import make_scores
from small import settings_for

from hcep.evaluation.scores import write_scores
from hcep.training.startup import StartUp, process_seconds

HEAVY = ("torch", "open_clip", "transformers")
# what takes longer to import than torch does, and what no run on encoders of the usual kind needs
LIBRARIES = ("open_clip", "torchvision", "transformers", "torch._dynamo", "scipy", "sympy")
TABLES = ("runs-table", "summary", "comparisons", "corpora")
PROBE = """
import sys
from hcep.cli import main
code = 0
for arguments in {lines!r}:
    try:
        code = code or main(arguments)
    except SystemExit as stop:
        code = code or stop.code
print(*(name for name in {heavy!r} if name in sys.modules))
sys.exit(code)
"""
TABLE = """clip\tvideo\tlabel\tgroup\tfold
a\tv.mp4\tanger\tg1\ttrain
b\tv.mp4\tfear\tg2\ttrain
c\tv.mp4\tanger\tg3\ttest
d\tv.mp4\tfear\tg4\ttest
e\tv.mp4\tjoy\tg5\ttest
"""


def imported(*lines: list[str], heavy: tuple[str, ...] = HEAVY) -> list[str]:
    """Which heavy packages are there after these command lines have run in one process."""
    code = PROBE.format(lines=[[str(part) for part in line] for line in lines], heavy=heavy)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()


def test_help_needs_no_model_and_little_time():
    assert imported(["--help"]) == imported(["train", "--help"]) == []
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "hcep.cli", "--help"], capture_output=True, check=True)
        seconds.append(time.perf_counter() - start)
    # the aim is 0.3 s on an idle machine (benchmarks/startup.py); torch alone would take more than this
    assert min(seconds) < 1.0


def test_manifest_and_splits_are_made_without_a_model(tmp_path):
    (tmp_path / "clips.tsv").write_text(TABLE)
    (tmp_path / "v.mp4").touch()
    manifest, classes = tmp_path / "manifest.tsv", tmp_path / "classes.yaml"
    rest = json.dumps({"labels": ["anger", "fear", "joy"], "test_folds": ["test"], "val_fraction": 0, "val_seed": 0})
    source = json.dumps({"adapter": "manifest", "options": {}, "text": "none"})
    draw = ["draw_splits", "--task", "t", "--labels", "anger", "fear", "joy", "--openness", "k2u1", "--count", 3]
    split = ["make_split", "--task", "t", "--openness", "k2u1", "--manifest", manifest, "--classes", classes]
    found = imported(
        ["manifest", "--dataset", "d", "--root", tmp_path, "--settings", source, "--output", manifest],
        [*draw, "--output", classes],
        [*split, "--split", "split1", "--settings", rest, "--output", tmp_path / "split.json"],
    )
    assert found == [] and len(json.loads((tmp_path / "split.json").read_text())["known"]) == 2


def test_runs_are_evaluated_and_summed_up_without_a_model(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    write_scores(run / "scores.h5", make_scores())
    settings = {"replicates": 100, "confidence": 0.95, "seed": 0, "acceptance": [0.95]}
    results = ["--metrics", run / "metrics.json", "--curves", run / "curves.csv"]
    results += ["--thresholds", run / "thresholds.csv", "--replicates", run / "replicates.h5"]
    tables = [part for name in TABLES for part in (f"--{name}", tmp_path / name)]
    rest = ["--settings", json.dumps(settings)]
    found = imported(
        ["evaluate", "--scores", run / "scores.h5", *results, *rest],
        ["aggregate", "--task", "demo", "--runs", run, *tables],
    )
    assert found == [] and (tmp_path / "summary").read_text().count("hcep") == 2


@pytest.mark.parametrize("base", ["hcep", "arpl_mm", "cssr"])
def test_runs_encoding_and_prediction_build_the_towers_without_their_libraries(trained, tmp_path, base):
    """From features or media to a trained run, its scores, its exported model and an answer for a file."""
    cache, encoder = trained.root / "resources/small", trained.root / "resources/encoders/small"
    computed = json.dumps({"batch_size": 16, "precision": "fp32", "device": "cpu"})
    # the rival's own augmentation draws on torchvision, which is imported when it is first asked for
    settings = settings_for(base, epochs=1, batch_size=16, **({"augmentation": "none"} if base == "cssr" else {}))
    inputs = ["--split", trained.root / "results/small/splits/k2u2/split1.json", "--index", cache / "index.h5"]
    inputs += ["--encoder", encoder]
    if base == "arpl_mm":
        inputs += ["--features", cache / f"features/small/{SHARD}.h5"]
    run = tmp_path / "run"
    results = ["--work", tmp_path / "work", "--model", run / "model.safetensors", "--history", run / "history.csv"]
    train = ["train", "--method", base, "--base", base, "--seed", 0, *inputs, "--settings", json.dumps(settings)]
    encode = ["encode", "--index", cache / "index.h5", "--shard", SHARD, "--encoder", encoder]
    score = ["score", "--base", base, "--model", run / "model.safetensors", *inputs]
    lines = [
        [*encode, "--settings", computed, "--output", tmp_path / "features.h5"],
        [*train, *results],
        [*score, "--output", run / "scores.h5", "--timing", run / "timing.json"],
    ]
    if base in METHODS:
        lines.append(["predict", trained.model(base), trained.root / "raw" / trained.clips[0].video, "--device", "cpu"])
    assert imported(*lines, heavy=LIBRARIES) == []
    assert (run / "scores.h5").is_file() and (tmp_path / "features.h5").is_file()


def test_the_log_says_what_a_job_waited_for(capsys):
    before = process_seconds()
    startup = StartUp("train hcep seed0")
    startup.done("imports")
    time.sleep(0.3)
    startup.say("reading")
    assert [what for what, _ in startup.parts] == ["imports", "reading"]
    assert startup.parts[0][1] >= before > 0 and 0.29 < startup.parts[1][1] < 5
    line = capsys.readouterr().err
    assert line.startswith("train hcep seed0: ") and "s before the first step: imports" in line and "reading 0." in line


def test_a_process_knows_its_age():
    code = "import time; time.sleep(0.5); from hcep.training.startup import process_seconds; print(process_seconds())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0.5 <= float(done.stdout) < 30
