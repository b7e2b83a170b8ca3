"""Results on faces, and scores that know more words, say so in every table; other results have the tables they had."""

from __future__ import annotations

import h5py
import pytest
from test_aggregate import METHODS, PAPER, make_grid, metrics_of, tables
from test_tables import SMALL

from hcep.evaluation.posthoc import posthoc
from hcep.evaluation.scores import read_scores
from hcep.evaluation.tables import write_paper_table
from hcep.evaluation.versus_paper import versus_paper
from hcep.files import read_table

NAMES = ("runs.csv", "summary.csv", "comparisons.csv", "corpora.csv", "versus_paper.csv", "posthoc.csv", "table.csv")


def write_all(root, **fields):
    """Every table of two methods' runs, whose scores have these fields."""
    methods = {name: METHODS[name] for name in ("hcep", "frozen_prompts")}
    folders = make_grid(root / "runs", methods=methods, seeds=(1,), **fields)
    tables(root, folders)
    versus_paper(root / "summary.csv", PAPER, "mafw", root / "versus_paper.csv")
    posthoc(folders[0] / "scores.h5", root / "posthoc.csv", root / "posthoc.h5", replicates=20)
    write_paper_table("table2", SMALL, [root / "summary.csv"], PAPER, root / "table.csv", root / "table.md")
    return folders


@pytest.mark.parametrize("faces", ["boxes", "boxes;none"])
def test_every_table_says_which_faces_were_used(tmp_path, faces):
    folders = write_all(tmp_path, faces=faces)
    assert read_scores(folders[0] / "scores.h5").faces == faces
    assert metrics_of(folders[0])["faces"] == faces
    for name in NAMES:
        columns = (tmp_path / name).read_text().splitlines()[0].split(",")
        rows = read_table(tmp_path / name)
        if name != "corpora.csv":  # a header only: the clips are of one corpus
            assert columns[columns.index("text_kind") + 1] == "faces"
            assert {row["faces"] for row in rows if row.get("ours", row.get("auroc", "1"))} == {faces}, name
    assert f"Faces: {faces.replace(';', ', ')}." in (tmp_path / "table.md").read_text().splitlines()[0]


def test_every_table_says_which_scores_know_words_outside_the_known_classes(tmp_path):
    folders = write_all(tmp_path, settings={"lexicon": "outside", "selection": "last"})
    assert metrics_of(folders[0])["lexicon"] == "true"
    for name in NAMES:
        columns = (tmp_path / name).read_text().splitlines()[0].split(",")
        rows = read_table(tmp_path / name)
        if name != "corpora.csv":
            assert columns[columns.index("text_kind") + 1] == "lexicon" and "faces" not in columns
            assert {row["lexicon"] for row in rows if row.get("ours", row.get("auroc", "1"))} == {"true"}, name
    assert "Score with words outside the known classes: " in (tmp_path / "table.md").read_text().splitlines()[0]


def test_whole_pictures_have_the_tables_that_they_had(tmp_path):
    folders = write_all(tmp_path)
    with h5py.File(folders[0] / "scores.h5", "r") as handle:
        assert "faces" not in handle.attrs and "text_kind" in handle.attrs
    assert "faces" not in metrics_of(folders[0])
    for name in NAMES:
        assert not {"faces", "lexicon"} & set((tmp_path / name).read_text().splitlines()[0].split(","))
    assert "Faces" not in (tmp_path / "table.md").read_text()
