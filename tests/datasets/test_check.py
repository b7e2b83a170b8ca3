"""`hcep check` tells what a release holds and what is wrong with it, without decoding."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from releases import cmu_mosei, crema_d, mafw, meld, ov_merd
from sample_media import make_clip, write_list

from hcep.cli import main
from hcep.config.whole import entry_of, read_configs
from hcep.datasets.check import check_release, report_text
from hcep.errors import HcepError

REPOSITORY = Path(__file__).parents[2]


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
    entry = entry_of(
        [REPOSITORY / "config/config.yaml", tmp_path / "mine.yaml"], "datasets", "dataset", "mafw", ("adapter", "root")
    )
    assert entry.adapter == "mafw" and entry.root == "elsewhere" and entry.options["list"] == "single"
    with pytest.raises(HcepError, match="did you mean 'mafw'"):
        entry_of([REPOSITORY / "config/config.yaml"], "datasets", "dataset", "mawf", ("adapter", "root"))
    with pytest.raises(HcepError, match="--configfile"):
        entry_of([tmp_path / "none.yaml"], "datasets", "dataset", "mafw", ("adapter", "root"))
    with pytest.raises(HcepError, match=r"no dataset 'mine'.*with --configfile; known: .*mafw"):
        entry_of([REPOSITORY / "config/config.yaml"], "datasets", "dataset", "mine", ("adapter", "root"))
    with pytest.raises(HcepError, match=r"mine.yaml, datasets.mafw: 'adapter' is missing"):
        entry_of([tmp_path / "mine.yaml"], "datasets", "dataset", "mafw", ("adapter", "root"))


# the option was --config once, and argparse still takes that for its beginning
@pytest.mark.parametrize("option", ["--configfile", "--config"])
def test_named_config_files_lie_over_the_workflows_own(tmp_path, monkeypatch, capsys, option):
    (tmp_path / "mine.yaml").write_text("datasets: {mafw: {root: elsewhere}}")
    monkeypatch.chdir(REPOSITORY)
    assert main(["check", "mafw", option, str(tmp_path / "mine.yaml")]) == 1
    assert "elsewhere: the release of dataset 'mafw' is missing" in capsys.readouterr().err


def test_the_listed_length_is_compared_with_the_file_or_the_segment(tmp_path):
    make_clip(tmp_path / "a.mp4", seconds=4.0)
    make_clip(tmp_path / "b.mp4", seconds=1.0)
    make_clip(tmp_path / "c.wav", seconds=4.0, video=False)
    row = {"video": "a.mp4", "label": "fear", "audio": "", "start": "", "end": ""}
    rows = [
        row | {"clip": "right", "seconds": "4.2"},
        row | {"clip": "nothing listed", "seconds": ""},
        row | {"clip": "long", "seconds": "9"},
        row | {"clip": "short", "video": "b.mp4", "seconds": "4"},
        row | {"clip": "near", "video": "b.mp4", "seconds": "1.9"},
        row | {"clip": "segment", "start": "1", "end": "3", "seconds": "2.1"},
        row | {"clip": "other segment", "start": "1", "seconds": "9"},
        row | {"clip": "sound", "video": "", "audio": "c.wav", "seconds": "1"},
    ]
    write_list(tmp_path / "clips.tsv", rows)
    found = fault(check("manifest", tmp_path), "than their list says")
    assert (found.severity, found.cases) == ("warning", 4) and found.remedy
    assert [example.partition(":")[0] for example in found.examples] == ["long", "short", "other segment", "sound"]
    assert found.examples[1].startswith("short: 4 s listed, 1") and found.examples[0].startswith("long: 9 s listed, 4")


def test_a_missing_file_that_is_there_in_other_letters_is_named(tmp_path):
    crema_d.make_release(tmp_path)
    lost = tmp_path / "CREMA-D/VideoFlash/1001_IEO_ANG_XX.flv"
    lost.rename(lost.with_name("1001_ieo_ang_xx.FLV"))
    missing = fault(check("crema_d", tmp_path, max_failures=0.5), "file is missing")
    folder = "CREMA-D/VideoFlash"
    assert f"{folder}/1001_IEO_ANG_XX.flv is there as {folder}/1001_ieo_ang_xx.FLV: rename" in missing.remedy


def test_config_files_are_laid_over_each_other_key_by_key(tmp_path):
    (tmp_path / "a.yaml").write_text("datasets: {x: {options: {a: 1, b: 2}, root: r}}\nwords: {a: b}")
    (tmp_path / "b.yaml").write_text("datasets: {x: {options: {b: 3}}}\nwords: 5")
    found = read_configs([tmp_path / "a.yaml", tmp_path / "b.yaml"])
    assert found == {"datasets": {"x": {"options": {"a": 1, "b": 3}, "root": "r"}}, "words": 5}
    (tmp_path / "b.yaml").write_text("- datasets")
    with pytest.raises(HcepError, match=r"b.yaml: is not a mapping"):
        read_configs([tmp_path / "b.yaml"])


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Two datasets of one's own and a task over both, in a folder without config/config.yaml."""
    for name, label in (("one", "anger"), ("two", "Angry")):
        make_clip(tmp_path / name / "a.mp4", seconds=0.5)
        rows = [
            {"clip": f"{name} {mood} {fold}", "video": "a.mp4", "label": mood, "fold": fold}
            for mood in (label, "fear", "boredom")
            for fold in ("train", "test")
        ]
        write_list(tmp_path / name / "clips.tsv", rows)
    task = {"dataset": ["one", "two"], "labels": ["anger", "fear", "joy"], "other_labels": ["boredom"]}
    datasets = {name: {"adapter": "manifest", "root": name} for name in ("one", "two")}
    config = {"datasets": datasets, "task_definitions": {"mine": task}}
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, **changes) -> int:
        definition = {"mine": task | changes}
        Path("mine.yaml").write_text(yaml.safe_dump(config | {"task_definitions": definition}))
        return main(["check", *arguments, "--configfile", "mine.yaml"])

    return run


def test_a_task_is_checked_with_all_its_datasets(own, capsys):
    assert own("--task", "mine") == 1
    said = capsys.readouterr()
    assert "one: one\n" in said.out and "two: two\n" in said.out and "clips per label and fold" in said.out
    assert "label 'Angry' (2 clips) is no class of the task" in said.out and "near 'anger'" in said.out
    assert said.err.endswith("hcep check: task mine does not fit its data. Remedy: see the errors above\n")
    # the clips of both datasets are counted together
    rows = [line.split() for line in said.out.partition("task mine\n")[2].splitlines()]
    assert ["fear", "4"] in rows and ["joy", "0"] in rows and ["boredom", "other_labels", "4"] in rows
    assert ["test", "tested", "6"] in rows and ["train", "trained", "on", "6"] in rows


def test_a_task_that_fits_its_data_passes(own, capsys):
    assert own("--task", "mine", "--output", "said.txt", labels=["anger", "Angry", "fear"]) == 0
    said = capsys.readouterr()
    assert said.err == "" and "errors" not in said.out and Path("said.txt").read_text() == said.out
    # a dataset by itself knows no task
    assert own("two") == 0
    assert "Angry" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "changes", "message"),
    [
        (
            ["--task", "mien"],
            {},
            "there is no task 'mien'. Remedy: name the file that has it with --configfile; did you mean",
        ),
        (["--task", "mine"], {"dataset": "three"}, "there is no dataset 'three'"),
        (["--task", "mine"], {"labels": ["anger", False]}, "mine.labels.1: False is not of type 'string'"),
        (["--task", "mine"], {"labels": None}, "mine.labels: None is not of type 'array'"),
        (["--task", "mine"], {"test_folds": [1]}, "write the name in quotes, as '1'"),
        (["--task", "mine", "--root", "one"], {}, "--root, --settings and --expected belong to one dataset"),
    ],
)
def test_a_task_that_cannot_be_checked(own, capsys, arguments, changes, message):
    assert own(*arguments, **changes) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["check"], ["check", "one", "--task", "mine"]])
def test_either_a_dataset_or_a_task_is_checked(arguments, capsys):
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert "a dataset" in said and "--task" in said


def test_what_decoding_found_is_counted(tmp_path):
    for name in ("a", "b"):
        make_clip(tmp_path / f"r/{name}.mp4", seconds=1)
    rows = [{"clip": name, "video": f"{name}.mp4", "label": "x", "text": "x"} for name in ("a", "b")]
    write_list(tmp_path / "r/clips.tsv", rows)
    qc = tmp_path / "qc.tsv"
    columns = ("clip", "dataset", "label", "fold", "flags", "reason", "frames", "audio", "text")
    found = {"a": ("no_text;silent_audio", "audio note: silent: constant throughout"), "b": ("", "clip note: the list")}
    lines = [[name, "d", "x", "", flags, reason, "ok", "note", "ok"] for name, (flags, reason) in found.items()]
    qc.write_text("".join("\t".join(line) + "\n" for line in [columns, *lines]))
    check = check_release("manifest", tmp_path / "r", "d", {}, qc=qc)
    assert [(fault.what, fault.cases, fault.examples) for fault in check.faults] == [
        ("clips that decoding flagged silent_audio", 1, ["a"]),
        ("clips with a note on the lengths of their parts", 1, ["b"]),
    ]
    assert check.usable and "clips that decoding flagged silent_audio: 1 (a)" in report_text(check)
