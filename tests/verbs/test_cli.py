"""The command line: every verb explains itself, and what a user can mend is one message without a traceback."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small import settings_for

from hcep import cli
from hcep.cli import main
from hcep.progress import progress
from hcep.stages import STAGES
from hcep.verbs.options import settings_argument


@pytest.mark.parametrize("verb", sorted(STAGES))
def test_every_verb_has_useful_help(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0 and len(STAGES[verb].help) > 20
    assert all(word in text for word in ("usage", "--help"))


def test_verbs_are_the_rules():
    rules = set()
    for path in (Path(__file__).parents[2] / "workflow" / "rules").glob("*.smk"):
        for line in path.read_text().splitlines():
            if line.startswith(("rule ", "checkpoint ")):
                rules.add(line.split()[1].rstrip(":"))
    # a user starts with `init` or draws class splits, once, and commits the files; no rule does it behind their back.
    # `run` does train, score and evaluate, the rules of `words` are made in a loop, and the others answer to people
    for_people = {"draw_splits", "init", "show", "list", "predict", "page", "verify", "check_cluster"}
    for_people |= {"train", "score", "evaluate", "words"}
    assert set(STAGES) - rules == for_people and rules <= set(STAGES)


def test_a_users_error_is_one_line_and_debug_shows_the_traceback(tmp_path):
    command = [sys.executable, "-m", "hcep.cli"]
    rest = ["evaluate", "--scores", str(tmp_path / "none.h5"), "--metrics", "a", "--curves", "b", "--thresholds", "c"]
    rest += ["--replicates", "d"]
    settings = {"replicates": 100, "confidence": 0.95, "seed": 0, "acceptance": [0.95]}
    rest += ["--settings", json.dumps(settings)]
    plain = subprocess.run([*command, *rest], capture_output=True, text=True)
    assert plain.returncode == 1 and "Traceback" not in plain.stderr and "none.h5" in plain.stderr
    debug = subprocess.run([*command, "--debug", *rest], capture_output=True, text=True)
    assert debug.returncode == 1 and "Traceback" in debug.stderr


def test_an_internal_error_names_itself_and_the_way_to_see_more(monkeypatch, capsys):
    def broken(stage, given):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(cli, "call", broken)
    assert main(["qc_page", "--qc", "q", "--output", "o"]) == 1
    text = capsys.readouterr().err
    assert "ZeroDivisionError" in text and "hcep --debug qc_page" in text


def test_settings_may_be_a_file_and_must_be_json(tmp_path, capsys):
    path = tmp_path / "settings.json"
    path.write_text('{"lr": 1}')
    assert settings_argument(str(path)) == settings_argument('{"lr": 1}') == {"lr": 1}
    with pytest.raises(SystemExit):
        main(["encode", "--settings", "{lr: 1}"])
    assert "not JSON" in capsys.readouterr().err
    path.write_text("[8]")
    with pytest.raises(SystemExit):
        main(["encode", "--settings", str(path)])
    assert "not an object: write {...}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "settings, said",
    [
        ('{"frames": 8, "size": 224}', "has no 'timeout'. Remedy: give frames, size, timeout"),
        (
            '{"frames": 8, "size": "224", "timeout": 1}',
            "size: '224' is not of type 'integer'. Remedy: a number in quotes",
        ),
        ('{"frames": 0, "size": 224, "timeout": 1}', "frames: 0 is less than the minimum of 1"),
        (
            '{"frames": 8, "siez": 224, "size": 16, "timeout": 1}',
            "'siez' is not read here. Remedy: did you mean 'size'?",
        ),
    ],
)
def test_settings_that_a_verb_does_not_know_or_lacks_are_named(settings, said, capsys):
    shard = ["--manifest", "m", "--root", "r", "--shard", "000-of-001", "--output", "o"]
    assert main(["decode_frames", *shard, "--settings", settings]) == 1
    assert said in capsys.readouterr().err


def test_settings_of_a_run_are_those_of_its_method(tmp_path, capsys):
    files = ["--split", "s", "--index", "i", "--encoder", "e", "--model", "m", "--history", "h"]
    run = ["train", "--method", "m", "--seed", "0", *files]
    assert main([*run, "--base", "linear", "--settings", '{"lr": 1}']) == 1
    assert "hcep train: --settings: has no " in capsys.readouterr().err
    full = settings_for("linear") | {"cosine_scale": 1}
    assert main([*run, "--base", "linear", "--settings", json.dumps(full)]) == 1
    assert "'cosine_scale' is not read here" in capsys.readouterr().err


def test_a_full_disk_is_no_error_of_hcep(monkeypatch, capsys):
    def full(stage, given):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "cache/frames.h5")

    monkeypatch.setattr(cli, "call", full)
    assert main(["qc_page", "--qc", "q", "--output", "o"]) == 1
    text = capsys.readouterr().err
    assert text.startswith("hcep qc_page: [Errno 28] No space left on device: 'cache/frames.h5'")
    assert "an error of hcep itself" not in text


def test_a_reader_that_had_enough_gets_no_message(tmp_path):
    # the reader is gone before the first line is written
    command = f"{sys.executable} -m hcep.cli complexity | true; exit ${{PIPESTATUS[0]}}"
    run = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert run.returncode == 1 and len(run.stderr.splitlines()) == 1 and "clip_wav2vec2" in run.stderr


def test_a_broken_pipe_to_something_else_is_named(monkeypatch, capsys):
    def to_a_child(stage, given):
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    monkeypatch.setattr(cli, "call", to_a_child)
    assert main(["qc_page", "--qc", "q", "--output", "o"]) == 1
    assert capsys.readouterr().err.startswith("hcep qc_page: [Errno 32] Broken pipe (`hcep --debug")


def test_an_error_of_the_system_without_words_is_named(monkeypatch, capsys):
    def late(stage, given):
        raise TimeoutError

    monkeypatch.setattr(cli, "call", late)
    assert main(["qc_page", "--qc", "q", "--output", "o"]) == 1
    assert capsys.readouterr().err.startswith("hcep qc_page: TimeoutError (")


def test_a_folder_that_is_not_there_is_no_release_without_clips(tmp_path, capsys):
    settings = '{"frames": 8, "size": 16, "timeout": 1}'
    shard = ["--manifest", "m", "--root", str(tmp_path / "none"), "--shard", "000-of-001", "--output", "o"]
    assert main(["decode_frames", *shard, "--settings", settings]) == 1
    assert f"{tmp_path / 'none'}: no such folder" in capsys.readouterr().err


def test_few_classes_are_drawn_with_a_word_about_it(tmp_path, capsys):
    draw = ["draw_splits", "--task", "t", "--labels", "a", "b", "c", "--openness", "k2u1"]
    assert main([*draw, "--output", str(tmp_path / "s.yaml")]) == 0
    said = capsys.readouterr().err
    assert said.startswith("draw_splits: only 3 distinct split(s)") and said.count("\n") == 1
    assert main([*draw[:-1], "k1u2", "--output", str(tmp_path / "t.yaml")]) == 1
    assert "openness k1u2 has 1 known class" in capsys.readouterr().err and not (tmp_path / "t.yaml").exists()


def test_a_log_has_few_lines_with_true_shares_and_counts_what_was_done_before(capsys):
    assert list(progress(range(3), 3, "train", "epoch")) == [0, 1, 2]
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(",")[0] for line in lines] == [
        "train: 1/3 epochs (33 %)",
        "train: 2/3 epochs (66 %)",
        "train: 3/3 epochs (100 %)",
    ]
    list(progress(range(150), 200, "train", "epoch", done=50))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("train: 51/200 epochs (25 %)") and lines[-1].startswith("train: 200/200 epochs (100 %)")
    assert len(lines) == 9
    list(progress(range(100), 100, "train", "epoch", done=28))
    assert capsys.readouterr().err.startswith("train: 29/100 epochs (29 %)")


def test_complexity_prints_the_counts_of_the_paper(capsys):
    assert main(["complexity"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    table = {(row[0], int(row[1])): row for row in rows[1:]}
    wanted = {8: 9_893_440, 6: 8_971_328, 4: 8_049_216, 2: 7_127_104}
    for known, count in wanted.items():
        row = table["hcep", known]
        assert int(row[2]) == count
        assert abs(float(row[3]) - float(row[4])) < 0.02
        assert int(table["arpl_mm", known][2]) == 1_705_985 + 512 * known
        assert int(row[6]) == 151_277_313 + 94_371_712
