"""`hcep check` tells what a release holds and what is wrong with it, without decoding."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from releases import cmu_mosei, crema_d, mafw, meld, ov_merd
from sample_media import make_clip, write_list

from hcep.cli import main
from hcep.datasets.check import check_release, dataset_entry, report_text
from hcep.errors import HcepError

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """MAFW's shape with a silent clip, a missing one, a git-LFS pointer and a cut file."""
    root = tmp_path_factory.mktemp("mafw")
    return root, mafw.make_release(root, faults=True)


def check(adapter: str, root: Path, options: dict[str, object] | None = None, **changes):
    return check_release(adapter, root, adapter, {"text": "manifest"} | (options or {}), **changes)


def fault(found, words: str):
    (one,) = [fault for fault in found.faults if words in fault.what]
    return one


def test_each_planted_fault_is_told_with_its_clip(faulty):
    root, release = faulty
    found = check("mafw", root)
    assert fault(found, "file is missing").examples == [release.missing]
    assert fault(found, "git-LFS pointer").examples == [release.pointer]
    assert fault(found, "cannot be read").examples == [release.truncated]
    assert release.silent in fault(found, "without sound").examples
    assert all(fault.remedy for fault in found.faults if "media file" in fault.what)


def test_a_share_of_broken_media_above_the_limit_makes_a_release_unusable(faulty):
    root, _ = faulty
    # one clip of 163 for each reason
    assert check("mafw", root, max_failures=0.01).usable
    strict = check("mafw", root, max_failures=0.005)
    assert not strict.usable and fault(strict, "file is missing").severity == "error"


def test_counts_stand_beside_the_published_ones(faulty, tmp_path):
    root, release = faulty
    captioned = {clip: label for clip, label in release.single.items() if label != "neutral"}
    anger = sum(label == "anger" for label in captioned.values())
    expected = {
        "clips": len(captioned),
        "labels": {"anger": anger + 2, "boredom": 7},
        "sections": {"fold 1": {"anger": 1}},
    }
    (tmp_path / "expected.yaml").write_text(yaml.safe_dump(expected))
    found = check("mafw", root, expected=tmp_path / "expected.yaml")
    table = {(count.section, count.name): (count.here, count.published) for count in found.counts}
    assert table["clips", "all"] == (len(captioned), len(captioned))
    assert table["labels", "anger"] == (anger, anger + 2)
    # what is published and not here counts nothing; what is not published stands alone
    assert table["labels", "boredom"] == (0, 7) and table["labels", "fear"][1] is None
    own = sum(
        captioned[clip] == "anger" and fold == 1 for clip, fold in release.single_fold.items() if clip in captioned
    )
    assert table["fold 1", "anger"] == (own, 1)
    text = report_text(found)
    assert f"{anger:>8}  {anger + 2:>9}  -2" in text and "clips per label and fold" in text
    (tmp_path / "expected.yaml").write_text("labels: {anger: many}")
    with pytest.raises(HcepError, match=r"expected.yaml, labels.anger: 'many' is not a number"):
        check("mafw", root, expected=tmp_path / "expected.yaml")


def test_segments_past_the_end_of_their_video_and_unwatchable_names(tmp_path):
    make_clip(tmp_path / "a.mp4", seconds=1.0)
    make_clip(tmp_path / "b{x}.mp4", seconds=1.0, audio=False)
    rows = [{"clip": f"a{end}", "video": "a.mp4", "start": "0", "end": str(end), "label": "anger"} for end in (1, 5)]
    write_list(tmp_path / "clips.tsv", [*rows, {"clip": "b", "video": "b{x}.mp4", "label": "fear"}])
    found = check("manifest", tmp_path)
    assert found.usable and fault(found, "end after their video does").examples == ["a5"]
    assert fault(found, "without sound").examples == ["b"]
    assert fault(found, "replacement is not noticed").examples == ["b{x}.mp4"]


@pytest.mark.parametrize(
    ("name", "make"),
    [("mafw", mafw), ("cmu_mosei", cmu_mosei), ("ov_merd", ov_merd), ("meld", meld), ("crema_d", crema_d)],
)
def test_published_counts_have_the_sections_of_the_survey(name, make, tmp_path):
    make.make_release(tmp_path / name, media=False)
    found = check(name, tmp_path / name, expected=REPOSITORY / "config/expected" / f"{name}.yaml")
    here = {(count.section, count.name) for count in found.counts if count.here}
    published = {(count.section, count.name) for count in found.counts if count.published}
    # a name that is spelt otherwise on the two sides would never meet
    assert len(here & published) >= 0.6 * len(published), sorted(published - here)
    assert not found.usable, "there are no media at all"


def test_the_command_says_all_and_exits_with_1_when_unusable(faulty, tmp_path, capsys, monkeypatch):
    root, _ = faulty
    monkeypatch.chdir(REPOSITORY)
    assert main(["check", "mafw", "--root", str(root), "--output", str(tmp_path / "check.txt")]) == 0
    said = capsys.readouterr()
    assert said.out == (tmp_path / "check.txt").read_text() and "published" in said.out and "8034" in said.out
    cmu_mosei.make_release(tmp_path / "mosei", faults=True)
    assert main(["check", "cmu_mosei", "--root", str(tmp_path / "mosei")]) == 1
    said = capsys.readouterr()
    assert "errors: this release cannot be used as it is" in said.out and "see the errors above" in said.err
    assert main(["check", "mafw", "--root", str(tmp_path / "nowhere")]) == 1
    assert "the release of dataset 'mafw' is missing" in capsys.readouterr().err
    settings = json.dumps({"adapter": "mafw", "options": {"list": "sinlge"}})
    assert main(["check", "mafw", "--root", str(root), "--settings", settings]) == 1
    assert "sinlge" in capsys.readouterr().err


def test_entries_come_from_config_files_laid_over_each_other(tmp_path):
    (tmp_path / "mine.yaml").write_text("datasets: {mafw: {root: elsewhere}}")
    entry = dataset_entry([REPOSITORY / "config/config.yaml", tmp_path / "mine.yaml"], "mafw")
    assert entry["adapter"] == "mafw" and entry["root"] == "elsewhere" and entry["options"]["list"] == "single"
    with pytest.raises(HcepError, match="did you mean 'mafw'"):
        dataset_entry([REPOSITORY / "config/config.yaml"], "mawf")
    with pytest.raises(HcepError, match="--config"):
        dataset_entry([tmp_path / "none.yaml"], "mafw")
    with pytest.raises(HcepError, match=r"no dataset 'mine'.*with --config; known: .*mafw"):
        dataset_entry([REPOSITORY / "config/config.yaml"], "mine")
    with pytest.raises(HcepError, match=r"mine.yaml, datasets.mafw: has no 'adapter'"):
        dataset_entry([tmp_path / "mine.yaml"], "mafw")


def test_named_config_files_lie_over_the_workflows_own(tmp_path, monkeypatch, capsys):
    (tmp_path / "mine.yaml").write_text("datasets: {mafw: {root: elsewhere}}")
    monkeypatch.chdir(REPOSITORY)
    assert main(["check", "mafw", "--config", str(tmp_path / "mine.yaml")]) == 1
    assert "elsewhere: the release of dataset 'mafw' is missing" in capsys.readouterr().err
