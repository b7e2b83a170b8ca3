"""Which numbers are marked, which are not compared, and what stands in the place of an interval that says nothing."""

from __future__ import annotations

import pytest
from sample_summary import comparison_row, summary_row, write_results

from hcep.errors import HcepError
from hcep.evaluation.groups import FEW_GROUPS, groups_note, groups_of
from hcep.figures.summary_table import (
    Cell,
    comparison_table,
    facts,
    read_comparisons,
    read_summary,
    remarks,
    summary_table,
)


def table_of(tmp_path, rows, **more):
    return summary_table(read_summary(write_results(tmp_path, rows, []) / "summary.csv"), **more)


def marks(table, column=0):
    return {line.place[1]: line.cells[column].mark for line in table.lines}


def test_the_note_of_a_row_names_its_groups():
    assert [groups_of(f"stand-in; {groups_note(count)}; movement_x 1") for count in (1, 4, FEW_GROUPS - 1)] == [
        1,
        4,
        19,
    ]
    assert groups_note(FEW_GROUPS) == "" and groups_of("up to 3 bootstrap replicates dropped per run") is None


def test_the_best_and_the_second_best_of_a_level_are_marked_and_ties_share(tmp_path):
    values = {"a": 60, "b": 70, "c": 70, "d": 65, "e": 65}
    rows = [summary_row(name, level, value + shift) for name, value in values.items() for level, shift in LEVELS]
    table = table_of(tmp_path, rows)
    assert [line.place[0] for line in table.lines] == ["k8u2"] * 5 + ["mean"] * 5
    for lines in (table.lines[:5], table.lines[5:]):
        found = [line.cells[0].mark for line in lines]
        assert found == ["", "best", "best", "second", "second"]
        # fpr95, the last column, is better when it is low
        assert [line.cells[-1].mark for line in lines] == ["best", "", "", "second", "second"]
    assert [metric.heading for metric in table.metrics] == ["AUROC ↑", "OSCR ↑", "accuracy ↑", "macro F1 ↑", "FPR95 ↓"]


LEVELS = (("k8u2", 0), ("mean", 1))


def test_numbers_are_compared_as_numbers(tmp_path):
    assert marks(table_of(tmp_path, [summary_row("a", value=9.5), summary_row("b", value=10)])) == {
        "a": "second",
        "b": "best",
    }


def test_a_method_alone_is_not_the_best(tmp_path):
    table = table_of(tmp_path, [summary_row("a")])
    assert marks(table) == {"a": ""} and table.best == table.second == ""


def test_stand_ins_are_ranked_among_themselves_alone(tmp_path):
    every = [summary_row(name, value=value, stand_in="true") for name, value in (("a", 60), ("b", 70))]
    assert marks(table_of(tmp_path, every)) == {"a": "second", "b": "best"}
    mixed = table_of(tmp_path, [*every, summary_row("real", value=10), summary_row("other", value=5)])
    assert marks(mixed) == {"a †": "", "b †": "", "real": "best", "other": "second"}
    assert mixed.notes == ["† stand-in encoders or composite data: not ranked."]


def test_rows_that_saw_more_are_not_ranked(tmp_path):
    rows = [
        summary_row("a", value=50),
        summary_row("b", value=40),
        summary_row("peeks", value=99, selection="last;best_on_test"),
        summary_row("words", value=98, lexicon="true"),
    ]
    table = table_of(tmp_path, rows)
    assert marks(table) == {"a": "best", "b": "second", "peeks ‡": "", "words §": ""}
    assert [note[0] for note in table.notes] == ["‡", "§"]


def test_few_groups_have_no_interval_and_say_so(tmp_path):
    note = f"stand-in encoders; {groups_note(4)}"
    rows = [summary_row("a", value=75, note=note), summary_row("b", value=80, note=groups_note(1))]
    rows += [summary_row("a", "mean", note=groups_note(5)), summary_row("b", "mean", 60, note=groups_note(5))]
    few, one, *enough = table_of(tmp_path, rows).lines
    assert few.cells[0] == Cell("75.00", "± 1.00", "4 test groups", "few")
    assert one.cells[0] == Cell("80.00", "± 1.00", "1 test group", "few")
    assert [line.cells[0].under for line in enough] == ["[48.00, 52.00]", "[58.00, 62.00]"]
    assert [line.cells[0].mark for line in enough] == ["second", "best"]


def test_rows_without_numbers_are_named_and_not_listed(tmp_path):
    empty = {name: "" for name in summary_row("x") if name.startswith(("auroc", "oscr", "accuracy", "macro", "fpr"))}
    table = table_of(tmp_path, [summary_row("a", auroc="", auroc_lo="", auroc_hi=""), summary_row("b") | empty])
    assert [line.place[1] for line in table.lines] == ["a"] and table.lines[0].cells[0] == Cell()
    assert table.notes == ["Without any number: b k8u2."]


def test_counts_and_printed_numbers_have_columns_where_they_tell_something(tmp_path):
    same = table_of(tmp_path, [summary_row("a", auroc_sd="")])
    assert same.place == ("openness", "method") and "Every row: 2 splits, 1 seed." in same.caption
    assert same.lines[0].cells[0] == Cell("50.00", "", "[48.00, 52.00]")
    other = table_of(tmp_path, [summary_row("a", splits=4, paper_oscr="61.20"), summary_row("b")])
    assert other.place == ("openness", "method", "splits")
    assert (other.metrics[-1].heading, other.lines[0].cells[-1].value) == ("paper's OSCR", "61.20")


def test_facts_tell_stand_ins_of_all_rows_from_those_of_some():
    rows = [summary_row("a", stand_in="true", protocol="folds 1"), summary_row("b", text_kind="caption")]
    assert facts(rows)[:3] == ["Words: asr, caption.", "Epoch: last.", "Protocol: folds 1."]
    assert facts(rows)[3].startswith("Rows with stand-in") and facts(rows[:1])[3].startswith("Stand-in")
    assert len(facts(rows[1:])) == 2


def test_differences_have_signs_and_those_away_from_zero_are_marked(tmp_path):
    rows = [
        summary_row(name, level, note=note) for name in "ab" for level, note in (("k8u2", groups_note(3)), ("mean", ""))
    ]
    pairs = [
        comparison_row("a", "b", metric=metric, openness=level) for level in ("mean", "k8u2") for metric in METRICS
    ]
    pairs[1] |= {"difference": "-0.50", "lo": "-2.00", "hi": "1.00", "p": "0.5000"}
    folder = write_results(tmp_path, rows, pairs)
    table = comparison_table(read_comparisons(folder / "comparisons.csv"), read_summary(folder / "summary.csv"))
    few, mean = table.lines
    assert few.place == ("k8u2", "a", "b") and few.cells[0] == Cell("+1.50", "", "3 test groups", "few")
    assert mean.cells == (Cell("+1.50", "p 0.0300", "[0.10, 2.90]", "best"), Cell("-0.50", "p 0.5000", "[-2.00, 1.00]"))
    assert comparison_table(pairs, rows, "mean").lines == [mean]


METRICS = ("auroc", "oscr")


def test_comparisons_of_other_runs_are_refused(tmp_path):
    rows = read_summary(write_results(tmp_path, [summary_row("a"), summary_row("b")], []) / "summary.csv")
    for pair in (comparison_row("a", "c"), comparison_row("a", "b", "k4u6")):
        with pytest.raises(HcepError, match="is of other runs than the summary"):
            comparison_table([pair], rows)


def test_remarks_are_made_once_for_all_rows_of_which_they_are_true():
    rows = [
        summary_row(name, note=f"stand-in x; movement_y 1; {note}") for name, note in (("a", "odd; late"), ("b", "odd"))
    ]
    assert remarks(rows) == ["odd (all rows).", "late (a k8u2)."]
    table = summary_table([summary_row("a", level, left_out="joy;fear") for level in ("k8u2", "mean")])
    assert table.notes == ["Left out of the known classes, too few training clips: k8u2: joy, fear."]


def test_faulty_tables_are_explained(tmp_path):
    folder = write_results(tmp_path, [summary_row("a", auroc_sd="wide")], [comparison_row("a", "b", p="small")])
    with pytest.raises(HcepError, match=r"summary\.csv, row 2: auroc_sd is 'wide', no number"):
        read_summary(folder / "summary.csv")
    with pytest.raises(HcepError, match=r"comparisons\.csv, row 2: p is 'small', no number"):
        read_comparisons(folder / "comparisons.csv")
    write_results(tmp_path, [], [])
    assert read_comparisons(folder / "comparisons.csv") == []
    with pytest.raises(HcepError, match="has no row"):
        read_summary(folder / "summary.csv")
    (folder / "comparisons.csv").unlink()
    with pytest.raises(HcepError, match="does not exist"):
        read_comparisons(folder / "comparisons.csv")
