"""The command line: every verb explains itself, and what a user can mend is one message without a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hcep import cli
from hcep.cli import VERBS, main
from hcep.verbs.options import settings_argument


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_has_useful_help(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0 and len(VERBS[verb][1].__doc__) > 20
    assert all(word in text for word in ("usage", "--help"))


def test_verbs_are_the_rules():
    rules = set()
    for path in (Path(__file__).parents[1] / "workflow" / "rules").glob("*.smk"):
        for line in path.read_text().splitlines():
            if line.startswith(("rule ", "checkpoint ")):
                rules.add(line.split()[1].rstrip(":"))
    # a user draws class splits once and commits them; no rule does it behind their back
    assert set(VERBS) - rules == {"draw_splits"} and rules <= set(VERBS)


def test_a_users_error_is_one_line_and_debug_shows_the_traceback(tmp_path):
    command = [sys.executable, "-m", "hcep.cli"]
    rest = ["evaluate", "--scores", str(tmp_path / "none.h5"), "--metrics", "a", "--curves", "b", "--thresholds", "c"]
    settings = {"replicates": 100, "confidence": 0.95, "seed": 0, "acceptance": [0.95]}
    rest += ["--settings", json.dumps(settings)]
    plain = subprocess.run([*command, *rest], capture_output=True, text=True)
    assert plain.returncode == 1 and "Traceback" not in plain.stderr and "none.h5" in plain.stderr
    debug = subprocess.run([*command, "--debug", *rest], capture_output=True, text=True)
    assert debug.returncode == 1 and "Traceback" in debug.stderr


def test_an_internal_error_names_itself_and_the_way_to_see_more(monkeypatch, capsys):
    def broken(args):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setitem(cli.VERBS, "qc_page", (lambda parser: None, broken))
    assert main(["qc_page"]) == 1
    text = capsys.readouterr().err
    assert "ZeroDivisionError" in text and "hcep --debug qc_page" in text


def test_settings_may_be_a_file_and_must_be_json(tmp_path, capsys):
    path = tmp_path / "settings.json"
    path.write_text('{"lr": 1}')
    assert settings_argument(str(path)) == settings_argument('{"lr": 1}') == {"lr": 1}
    with pytest.raises(SystemExit):
        main(["encode", "--settings", "{lr: 1}"])
    assert "not JSON" in capsys.readouterr().err


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
