"""MAFW: fold lists, captions and tables of the release -> manifest rows, on an invented release of the same shape."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
import yaml
from openpyxl import load_workbook
from releases.mafw import COMPOUND, EMOTIONS, LISTS, Release, make_release, write_table
from workspace import REPOSITORY

from hcep import registry
from hcep.container import MediaError
from hcep.datasets.build import build_manifest
from hcep.datasets.mafw import Mafw
from hcep.datasets.mafw_lists import decode
from hcep.datasets.manifest_file import Clip, read_manifest
from hcep.errors import HcepError
from hcep.probe import glance
from hcep.protocol.partition import Folds, partition

KNOWN = [name for name in EMOTIONS if name != "neutral"]
UNKNOWN = COMPOUND[:6]
FAMILIES = [(kind, captions) for kind in ("single", "compound") for captions in ("with", "without")]
SET_1 = f"{LISTS}/single/with_caption/set_1"


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> tuple[Path, Release]:
    """A release without media and tables; not to be changed."""
    root = tmp_path_factory.mktemp("mafw")
    return root, make_release(root, clips_per_class=6, media=False, tables=False)


@pytest.fixture
def root(written, tmp_path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(written[0], tmp_path / "release"))


def mafw(root: Path, **settings: object) -> Mafw:
    return Mafw(root, dict(settings))


def edit(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().split(b"\r\n")[:-1]


def hand_made(root: Path, first: bytes, second: bytes, family: str = "single/with_caption") -> Path:
    """A release of two clips, of which set_1 tests the second."""
    place = root / "split" / family / "set_1"
    place.mkdir(parents=True)
    (place / "train.txt").write_bytes(first)
    (place / "test.txt").write_bytes(second)
    return root


# --- rows ----------------------------------------------------------------------------------------------------------


def test_row_for_row_from_bytes(tmp_path):
    # by hand: 愤 is B7 DF, 哭 is BF DE and the full stop is A1 A3 in GBK
    first = b'00025.mp4\tanger\t\xb7\xdf\xa1\xa3\tHe says "no".  He waits\xa3\xac\r\n'
    second = b"20098.mp4\tsadness\t\xbf\xde\xa1\xa3\tShe  cries.\r\n"
    assert mafw(hand_made(tmp_path, first, second)).clips() == [
        Clip(
            clip="00025",
            dataset="",
            video="data/clips/00025.mp4",
            audio="data/clips/00025.mp4",
            start=None,
            end=None,
            text='He says "no".  He waits，',
            text_kind="caption",
            language="en",
            label="anger",
            labels="anger",
            group="00025",
            fold="train",
            flags="",
            box="",
        ),
        Clip(
            clip="20098",
            dataset="",
            video="data/clips/20098.mp4",
            audio="data/clips/20098.mp4",
            start=None,
            end=None,
            text="She  cries.",
            text_kind="caption",
            language="en",
            label="sadness",
            labels="sadness",
            group="20098",
            fold="1",
            flags="",
            box="",
        ),
    ]


@pytest.mark.parametrize(("kind", "captions"), FAMILIES)
def test_every_family_row_for_row(written, kind, captions):
    root, release = written
    labels = release.single if kind == "single" else release.compound
    folds = release.single_fold if kind == "single" else release.compound_fold
    clips = mafw(root, list=kind, captions=captions).clips()
    wanted = {clip: (label, str(folds[clip])) for clip, label in labels.items() if label != "neutral"}
    assert {clip.clip: (clip.label, clip.fold) for clip in clips} == wanted
    assert [clip.clip for clip in clips] == sorted(wanted)
    assert all(clip.labels == clip.label.replace("_", ";") for clip in clips)
    if captions == "with":
        assert {clip.clip: clip.text for clip in clips} == {clip: release.captions[clip][1] for clip in wanted}
        assert {(clip.text_kind, clip.language) for clip in clips} == {("caption", "en")}
    else:
        assert {(clip.text, clip.text_kind) for clip in clips} == {("", "none")}
    # the folds give the official lists back
    for number in range(1, 6):
        place = root / LISTS / kind / ("with_caption" if captions == "with" else "no_caption") / f"set_{number}"
        for part, tested in (("train", False), ("test", True)):
            listed = [line.split()[0].decode()[:5] for line in lines_of(place / f"{part}.txt")]
            assert [c.clip for c in clips if (c.fold == str(number)) == tested] == [
                clip for clip in listed if labels[clip] != "neutral"
            ]


def test_captions_of_the_release_have_the_peculiarities_of_real_ones(written):
    english = [english for _, english in written[1].captions.values()]
    assert all(any(piece in caption for caption in english) for piece in ('"', "，", ".  "))


def test_neutral_clips_are_counted_when_they_are_dropped(written, capsys):
    root, release = written
    dropped = mafw(root, captions="without").clips()
    assert "sets 1, 2, 3, 4, 5; dropped: 6 neutral" in capsys.readouterr().err
    kept = mafw(root, captions="without", keep_neutral=True).clips()
    assert len(kept) == len(dropped) + 6 == len(release.single)
    assert Counter(clip.label for clip in kept)["neutral"] == 6
    assert "dropped: none" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "kind"), [("none", "none"), ("asr", "asr")])
def test_captions_that_are_not_wanted(written, text, kind):
    clips = mafw(written[0], text=text).clips()
    assert {(clip.text, clip.text_kind, clip.language) for clip in clips} == {("", kind, "")}


def test_pure_clips_are_those_with_one_emotion_in_both_families(written, capsys):
    root, release = written
    clips = mafw(root, clips="pure").clips()
    assert [clip.clip for clip in clips] == [
        clip for clip, label in release.compound.items() if "_" not in label and label != "neutral"
    ]
    # folds and labels stay those of the single lists; 6 classes of 6 clips are compound, 3 clips are single only
    assert all(clip.fold == str(release.single_fold[clip.clip]) for clip in clips) and len(clips) == 60
    assert "36 with a compound label and 3 that the compound lists lack" in capsys.readouterr().err
    shutil.copytree(root / LISTS / "single", root.parent / "alone" / "single")
    with pytest.raises(HcepError, match="no fold lists compound/with_caption"):
        mafw(root.parent / "alone", clips="pure").clips()


def test_manifest_comes_back_as_written(written, tmp_path, monkeypatch):
    monkeypatch.setitem(registry.DATASETS, "mafw", "hcep.datasets.mafw:Mafw")
    build_manifest("mafw", written[0], "mafw", {}, tmp_path / "m.tsv")
    assert [clip._replace(dataset="") for clip in read_manifest(tmp_path / "m.tsv")] == mafw(written[0]).clips()


def test_a_clip_without_a_caption_is_kept_flagged_and_told(tmp_path, monkeypatch):
    monkeypatch.setitem(registry.DATASETS, "mafw", "hcep.datasets.mafw:Mafw")
    root = hand_made(
        tmp_path, "00025.mp4\tanger\t他。\t\r\n".encode("gb18030"), b"00027.mp4\tfear\t\xcb\xfb\tHe runs.\r\n"
    )
    build_manifest("mafw", root, "mafw", {}, tmp_path / "m.tsv")
    assert [(clip.clip, clip.flags) for clip in read_manifest(tmp_path / "m.tsv")] == [
        ("00025", "no_text"),
        ("00027", ""),
    ]
    assert faults_of(root)["clips whose caption is empty"] == (1, ("00025",))


# --- the leak between the families -----------------------------------------------------------------------------------


def test_compound_lists_keep_compound_clips_out_of_training(written):
    root, release = written
    single, compound = mafw(root).clips(), mafw(root, list="compound").clips()
    hazards = 0
    for fold in "12345":
        parts = partition(compound, KNOWN, UNKNOWN, Folds({fold}))
        path = root / LISTS / "compound" / "with_caption" / f"set_{fold}" / "test.txt"
        fields = [line.decode("gb18030").split("\t") for line in lines_of(path)]
        listed = {name.removesuffix(".mp4"): label for name, label, *_ in fields}
        assert set(parts.test_unknown) == {clip for clip, label in listed.items() if "_" in label}
        assert set(parts.test_known) == {clip for clip, label in listed.items() if "_" not in label}
        assert not {*parts.train, *parts.val} & {*parts.test_known, *parts.test_unknown}
        assert {release.compound[clip] for clip in parts.train} == set(KNOWN)
        # known classes from the single lists would have put some of these in training, under their dominant emotion
        leaked = {clip.clip for clip in single if clip.fold != fold} & set(parts.test_unknown)
        assert all(release.single[clip] in release.compound[clip].split("_") for clip in leaked)
        hazards += len(leaked)
        # and some roles differ outright
        assert {clip.clip for clip in single if clip.fold == fold} & set(parts.train)
    assert hazards > 20, "the release does not hold the hazard that this test is about"


def test_families_cannot_be_mixed(written):
    root, _ = written
    single = [clip._replace(dataset="mafw") for clip in mafw(root).clips()]
    compound = [clip._replace(dataset="mafw_compound") for clip in mafw(root, list="compound").clips()]
    with pytest.raises(HcepError, match="occurs more than once"):
        partition([*single, *compound], KNOWN, UNKNOWN, Folds({"1"}))


# --- spellings and encodings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (LISTS, "Train_Test_Set"),
        (LISTS, "split"),
        (LISTS, "."),
        (LISTS, f"MAFW/{LISTS}"),
        (f"{LISTS}/single", f"{LISTS}/Single"),
        (f"{LISTS}/single/with_caption", f"{LISTS}/single/With-Caption"),
        (f"{LISTS}/single/with_caption", f"{LISTS}/single/with_caption_new"),
        (f"{SET_1}", f"{LISTS}/single/with_caption/Set 1"),
        (f"{SET_1}/train.txt", f"{SET_1}/Train.TXT"),
    ],
)
def test_other_spellings_of_the_lists(root, written, old, new):
    if new == ".":
        for folder in (root / old).iterdir():
            folder.rename(root / folder.name)
        (root / old).rmdir()
    else:
        # by way of a third name: the new one may lie inside the old one, or differ in case only
        (root / old).rename(root / "moved")
        (root / new).parent.mkdir(parents=True, exist_ok=True)
        (root / "moved").rename(root / new)
    assert mafw(root).clips() == mafw(written[0]).clips()
    assert mafw(root.parent).clips()[0].clip == mafw(root).clips()[0].clip, "one level deeper"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_copies_in_utf8_read_the_same(root, written, encoding):
    for path in (root / LISTS / "single" / "with_caption").rglob("*.txt"):
        path.write_text(path.read_text(encoding="gb18030").replace("\r\n", "\n"), encoding=encoding)
    assert mafw(root).clips() == mafw(written[0]).clips()
    assert mafw(root).survey(mafw(root).clips()).faults == []


def test_a_list_in_neither_encoding_names_the_line(root):
    path = root / SET_1 / "train.txt"
    lines = lines_of(path)
    lines[4] = lines[4].replace("里".encode("gb18030"), b"\xff\xff")
    path.write_bytes(b"\r\n".join(lines) + b"\r\n")
    with pytest.raises(HcepError, match=r"set_1/train.txt, row 5: is neither GB18030 nor UTF-8.*Remedy: unpack"):
        mafw(root).clips()


def test_text_is_never_taken_for_western(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes("愤怒。".encode("gb18030"))
    assert decode(path) == "愤怒。"
    # a copy that went through cp1252 has lost its Chinese: told by the survey
    garbled = "\xc4\xfd\xa1\xa3".encode()
    root = hand_made(tmp_path / "r", b"00025.mp4\tanger\t" + garbled + b"\tHe shouts.\n", b"")
    reader = mafw(root)
    fault = next(fault for fault in reader.survey(reader.clips()).faults if "Chinese" in fault.what)
    assert (fault.cases, list(fault.examples)) == (1, ["00025"])


def test_odd_line_ends_inside_a_caption_do_not_split_it(tmp_path):
    first = "00025.mp4\tanger\t他。\tHe\x0bwaits\x85 and\u2028waits.\r\n\r\n".encode()
    assert mafw(hand_made(tmp_path, first, b"")).clips()[0].text == "He\x0bwaits\x85 and\u2028waits."


# --- lists that are wrong --------------------------------------------------------------------------------------------


def test_a_mistyped_label_names_file_row_and_nearest_name(tmp_path):
    make_release(tmp_path, clips_per_class=5, media=False, tables=False, faults="label")
    path = tmp_path / LISTS / "single/with_caption/set_3/train.txt"
    row = next(number for number, line in enumerate(lines_of(path), start=1) if b"angre" in line)
    with pytest.raises(HcepError) as caught:
        mafw(tmp_path).clips()
    assert caught.value.cause == "label 'angre' is not one of MAFW's (did you mean 'anger'?)"
    assert (caught.value.file, caught.value.row, bool(caught.value.remedy)) == (path, row, True)
    assert mafw(tmp_path, list="compound").clips()


LINE = "00025.mp4\tanger\t他。\tHe shouts.\n"


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("00027.mp4 anger\n", "row 2: does not split into clip, label, Chinese and English caption"),
        ("00027.mp4\tanger\tHe shouts.\n", "row 2: does not split"),
        ("00027.mp4\tanger\t他。\tHe shouts.\tHe waits.\n", "row 2: does not split"),
        ("27.mp4\tanger\t他。\tHe shouts.\n", "row 2: '27.mp4' is not a clip's name"),
        ("../00027.mp4\tanger\t他。\tHe shouts.\n", "row 2: '../00027.mp4' is not a clip's name"),
        ("00027.mp4\t1\t他。\tHe shouts.\n", "row 2: label '1' is not one of MAFW's"),
        ("00027.mp4\tAnger\t他。\tHe shouts.\n", "row 2: label 'Anger' .*did you mean 'anger'"),
        ("00027.mp4\t\t他。\tHe shouts.\n", "row 2: label '' is not one"),
        (
            "00027.mp4\tanger_fear\t他。\tHe shouts.\n",
            "row 2: label 'anger_fear' is a compound one, in a list of single",
        ),
        (LINE, "row 2: clip 00025 is already in row 1"),
        (LINE.replace("anger", "fear"), "row 2: clip 00025 is already in row 1"),
    ],
)
def test_a_line_that_is_wrong(tmp_path, line, cause):
    root = hand_made(tmp_path, (LINE + line).encode("gb18030"), b"")
    with pytest.raises(HcepError, match=f"set_1/train.txt, {cause}") as caught:
        mafw(root).clips()
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("label", "cause"),
    [
        ("disgust_anger", "label 'disgust_anger' is not in MAFW's order, 'anger_disgust'"),
        ("anger_anger", "label 'anger_anger' is not in MAFW's order, 'anger'"),
        ("anger_disgst", "label 'anger_disgst' is not one of MAFW's .did you mean 'disgust'"),
        ("anger_", "label 'anger_' is not one of MAFW's"),
    ],
)
def test_a_compound_label_that_is_wrong(tmp_path, label, cause):
    first = f"00025.mp4 anger_disgust\r\n00027.mp4 {label}\r\n".encode()
    root = hand_made(tmp_path, first, b"", "compound/no_caption")
    with pytest.raises(HcepError, match=f"row 2: {cause}"):
        mafw(root, list="compound", captions="without").clips()


def test_lists_that_contradict_each_other(root):
    first = lines_of(root / SET_1 / "test.txt")[0]
    clip, label, _, caption = first.split(b"\t")
    other = b"fear" if label != b"fear" else b"anger"
    second = root / LISTS / "single/with_caption/set_2"
    row = lines_of(second / "train.txt").index(first) + 1
    cases = [
        (second / "train.txt", first, first.replace(label, other), f"set_2/train.txt, row {row}: .* has the label"),
        (second / "train.txt", caption, b"Something else.", f"row {row}: .* has the caption 'Something else.'"),
        (
            second / "test.txt",
            b"",
            first + b"\r\n",
            "set_2/test.txt, row 1: .* is also tested in .*set_1/test.txt, row 1",
        ),
        (root / SET_1 / "train.txt", b"", first + b"\r\n", "set_1/test.txt, row 1: .* train list of set_1 too"),
    ]
    for path, old, new, cause in cases:
        before = path.read_bytes()
        edit(path, old, new)
        with pytest.raises(HcepError, match=cause) as caught:
            mafw(root).clips()
        assert clip.decode()[:5] in caught.value.cause and caught.value.remedy
        path.write_bytes(before)
    # spaces are no contradiction
    edit(second / "train.txt", caption, caption.replace(b" ", b"  "))
    assert len(mafw(root).clips()) == 99


def test_lists_that_are_missing(root):
    (root / SET_1 / "test.txt").unlink()
    with pytest.raises(HcepError, match=r"set_1: has no list test.txt\. Remedy"):
        mafw(root).clips()
    for number in range(1, 6):
        shutil.rmtree(root / LISTS / f"single/with_caption/set_{number}")
    with pytest.raises(HcepError, match="with_caption: holds no set_1"):
        mafw(root).clips()
    shutil.rmtree(root / LISTS / "single/with_caption")
    with pytest.raises(HcepError, match=r"list: compound with captions: with; .*list: single with captions: without"):
        mafw(root).clips()
    shutil.rmtree(root / LISTS)
    with pytest.raises(HcepError, match=r"unpack the release's folder 'Train & Test Set' there$"):
        mafw(root).clips()


def test_only_neutral_clips_are_no_clips(tmp_path):
    root = hand_made(tmp_path, b"00025.mp4 neutral\r\n", b"", "single/no_caption")
    with pytest.raises(HcepError, match="lists no clip that the settings keep"):
        mafw(root, captions="without").clips()


def test_some_sets_only(root, written):
    for number in (2, 3, 5):
        shutil.rmtree(root / LISTS / f"single/with_caption/set_{number}")
    clips = mafw(root).clips()
    assert [clip.clip for clip in clips] == [clip.clip for clip in mafw(written[0]).clips()]
    wanted = {clip.clip: clip.fold if clip.fold in "14" else "train" for clip in mafw(written[0]).clips()}
    assert {clip.clip: clip.fold for clip in clips} == wanted
    survey = mafw(root).survey(clips)
    assert [(fault.severity, fault.cases, list(fault.examples)) for fault in survey.faults] == [
        ("warning", 3, ["set_2", "set_3", "set_5"])
    ]
    assert set(survey.counts["fold lists"]) == {"set_1 train", "set_1 test", "set_4 train", "set_4 test"}


@pytest.mark.parametrize(
    "settings",
    [
        {"list": "multi"},
        {"captions": True},
        {"text": "caption"},
        {"clips": "some"},
        {"keep_neutral": "no"},
        {"caption": "with"},
        {"list": "compound", "clips": "pure"},
    ],
)
def test_settings_that_are_wrong(tmp_path, settings):
    with pytest.raises(HcepError, match="mafw adapter") as caught:
        Mafw(tmp_path, settings)
    assert caught.value.remedy


# --- media -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["data/clips", "clips_mp4", "MAFW/data/clips/clips", "."])
def test_clips_are_found_where_they_lie(root, folder):
    names = [clip.clip for clip in mafw(root).clips()]
    (root / folder).mkdir(parents=True, exist_ok=True)
    for name in names[2:]:
        (root / folder / f"{name}.mp4").write_bytes(b"")
    (root / folder / f"{names[1]}.MP4").write_bytes(b"")
    # not clips, and one that lies elsewhere too
    for other in ("._00025.mp4", "00025.txt", "clip.mp4", "123456.mp4"):
        (root / folder / other).write_bytes(b"")
    (root / "a_few").mkdir()
    (root / "a_few" / f"{names[2]}.mp4").write_bytes(b"")
    reader = mafw(root)
    clips = reader.clips()
    prefix = "" if folder == "." else f"{folder}/"
    assert [clip.video for clip in clips[:4]] == [
        f"{prefix}{names[0]}.mp4",
        f"{prefix}{names[1]}.MP4",
        f"{prefix}{names[2]}.mp4",
        f"{prefix}{names[3]}.mp4",
    ]
    assert all(clip.audio == clip.video for clip in clips)
    survey = reader.survey(clips)
    assert survey.found["clips"] == folder
    assert [(fault.cases, list(fault.examples)) for fault in survey.faults] == [(1, [f"a_few/{names[2]}.mp4"])]


def test_clips_may_be_divided_over_folders(root):
    names = [clip.clip for clip in mafw(root).clips()]
    for number, name in enumerate(names):
        place = root / "data" / f"part{number % 2}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{name}.mp4").write_bytes(b"")
    reader = mafw(root)
    assert all((root / clip.video).is_file() for clip in reader.clips())
    assert reader.survey(reader.clips()).faults == []


def test_watch_follows_lists_and_names(root):
    def now(**settings: object) -> list[str]:
        return mafw(root, **settings).watch()

    before, pure = now(), now(clips="pure")
    assert len(before) == 11 and len(pure) == 21
    (root / SET_1 / "train.txt").touch()
    (root / LISTS / "single/no_caption/set_1/train.txt").write_bytes(b"")
    assert now() == before, "neither dates nor lists of another family"
    edit(root / LISTS / "compound/with_caption/set_1/train.txt", b"acts", b"does")
    assert now() == before and now(clips="pure") != pure
    (root / "clips").mkdir()
    (root / "clips" / "00025.mp4").write_bytes(b"")
    assert now()[:-1] == before[:-1] and now()[-1] != before[-1]
    edit(root / SET_1 / "test.txt", b"acts", b"does")
    assert now()[:-1] != before[:-1]
    shutil.rmtree(root / LISTS)
    assert len(now()) == 1 and "no fold lists" in now()[0]
    assert mafw(root / "none").watch() == ["release: missing"]


def test_the_release_of_the_tests_holds_media_and_their_faults(tmp_path):
    release = make_release(tmp_path, clips_per_class=5, compound=2, tables=False, faults=True)
    clips = {clip.clip: tmp_path / clip.video for clip in mafw(tmp_path).clips()}
    odd = {release.silent, release.missing, release.pointer, release.truncated}
    assert len(odd) == 4
    whole = [glance(path) for clip, path in clips.items() if clip not in odd]
    assert len(whole) > 40 and all(seen.has_video and seen.has_audio and seen.duration > 0.5 for seen in whole)
    folder = tmp_path / "data" / "clips"
    seen = glance(folder / f"{release.silent}.mp4")
    assert seen.has_video and not seen.has_audio
    assert not (folder / f"{release.missing}.mp4").exists()
    for clip in (release.pointer, release.truncated):
        with pytest.raises(MediaError):
            glance(folder / f"{clip}.mp4")


# --- tables ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_tables(tmp_path_factory) -> Path:
    """A release with tables; not to be changed."""
    root = tmp_path_factory.mktemp("tables")
    make_release(root, clips_per_class=5, compound=3, media=False)
    return root


def faults_of(root: Path, **settings: object) -> dict[str, tuple[int, tuple[str, ...]]]:
    reader = mafw(root, **settings)
    return {fault.what: (fault.cases, tuple(fault.examples)) for fault in reader.survey(reader.clips()).faults}


@pytest.mark.parametrize(("kind", "captions"), FAMILIES)
def test_tables_that_agree(with_tables, kind, captions):
    reader = mafw(with_tables, list=kind, captions=captions)
    survey = reader.survey(reader.clips())
    assert survey.faults == []
    # 14 classes of 5 clips, 3 that are single only, 4 in no list; 5 neutral clips without a caption
    rows = {"annotation.xlsx": 77, "single-set.xlsx": 73, "multi-set.xlsx": 15, "descriptive_text.xlsx": 68}
    assert survey.counts["tables"] == rows
    assert survey.found["single-set.xlsx"] == "Labels/single-set.xlsx"
    assert survey.found["fold lists"] == f"{LISTS}/{kind}/{'with' if captions == 'with' else 'no'}_caption"
    if (kind, captions) == ("single", "with"):
        sizes = survey.counts["fold lists"]
        assert {sizes[f"set_{number} train"] + sizes[f"set_{number} test"] for number in range(1, 6)} == {68}


def change_table(root: Path, name: str, change) -> None:
    """Write a table again after `change` has worked on its rows."""
    path = root / "Labels" / name
    rows = [list(row) for row in load_workbook(path).active.iter_rows(values_only=True)]
    change(rows)
    write_table(path, rows)


def test_tables_that_disagree(with_tables, tmp_path):
    root = Path(shutil.copytree(with_tables, tmp_path / "release"))
    release = make_release(tmp_path / "same", clips_per_class=5, compound=3, media=False, tables=False)
    angry = next(clip for clip, label in release.single.items() if label == "anger")
    lost = [clip for clip, label in release.single.items() if label == "sadness"][:2]
    mixed = next(clip for clip, label in release.compound.items() if label == "sadness_helplessness")

    def relabel(rows: list[list[object]]) -> None:
        rows[:] = [row for row in rows if row[0] not in {f"{clip}.mp4" for clip in lost}]
        row = next(row for row in rows if row[0] == f"{angry}.mp4")
        # 3 is fear in MAFW's order and contempt in another that is in use
        assert row[-1] == 1
        row[-1] = 3
        rows.append(["99999.mp4", *[0] * 11, 6])
        rows.append(["99998.mp4", *[0] * 11, 5])

    def recaption(rows: list[list[object]]) -> None:
        row = next(row for row in rows if row[0] == f"{angry}.mp4")
        row[2] = "Other words."
        rows[0][2] = str(rows[0][2]).replace(" ", "  ")
        rows.append(rows[0])

    def remix(rows: list[list[object]]) -> None:
        next(row for row in rows if row[0] == f"{mixed}.mp4")[-1] = "10,6"

    change_table(root, "single-set.xlsx", relabel)
    change_table(root, "descriptive_text.xlsx", recaption)
    change_table(root, "multi-set.xlsx", remix)
    change_table(root, "annotation.xlsx", lambda rows: rows.remove(next(r for r in rows if r[0] == f"{angry}.mp4")))
    first = next(iter(sorted(release.captions)))
    assert faults_of(root) == {
        "clips of the fold lists that annotation.xlsx lacks": (1, (angry,)),
        "clips of the fold lists that single-set.xlsx lacks": (2, tuple(lost)),
        "clips of single-set.xlsx that are in no fold list": (1, ("99999",)),
        "clips whose label in single-set.xlsx is not that of the fold lists": (1, (f"{angry} ('anger', 'fear')",)),
        "clips that are more than once in descriptive_text.xlsx": (1, (first,)),
        "captions that descriptive_text.xlsx has otherwise than the fold lists": (
            1,
            (f"{angry} ({release.captions[angry][1]!r}, 'Other words.')",),
        ),
    }
    compound = faults_of(root, list="compound")
    assert compound["clips whose label in multi-set.xlsx is not that of the fold lists"] == (
        1,
        (f"{mixed} ('sadness_helplessness', 'helplessness_sadness')",),
    )
    assert "clips of single-set.xlsx that are in no fold list" not in compound, "the single set is the larger one"


def test_tables_that_cannot_be_read_are_told_and_do_no_harm(with_tables, tmp_path):
    root = Path(shutil.copytree(with_tables, tmp_path / "release"))
    labels = root / "Labels"
    (labels / "annotation.xlsx").write_bytes(b"PK no archive")
    write_table(labels / "single-set.xlsx", [["clip", "label"], ["00025.mp4", 1]])
    (labels / "multi-set.xlsx").rename(labels / "Multi Set.xlsx")
    (labels / "~$descriptive_text.xlsx").write_bytes(b"")
    (labels / "descriptive_text.xlsx").unlink()
    reader = mafw(root)
    survey = reader.survey(reader.clips())
    assert {(fault.severity, fault.what) for fault in survey.faults} == {("warning", "tables that are not compared")}
    first, second = (fault.examples[0] for fault in survey.faults)
    assert first.startswith("annotation.xlsx cannot be read: ")
    assert second == "single-set.xlsx cannot be read: it has no column single_label"
    assert survey.counts["tables"] == {"multi-set.xlsx": 15}


def test_sets_that_hold_other_clips_are_told(root):
    path = root / LISTS / "single/with_caption/set_4/train.txt"
    lines = lines_of(path)
    path.write_bytes(b"\r\n".join(lines[3:]) + b"\r\n")
    lost = tuple(line.decode("gb18030")[:5] for line in lines[:3])
    assert faults_of(root) == {"clips of other sets that set_4 lacks": (3, lost)}


# --- published numbers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "compound"), [("mafw", 0), ("mafw_compound", 32)])
def test_published_numbers_agree_with_each_other(name, compound):
    numbers = yaml.safe_load((REPOSITORY / "config" / "expected" / f"{name}.yaml").read_text())
    assert sum(numbers["labels"].values()) == sum(numbers["folds"].values()) == numbers["clips"]
    assert set(numbers["labels"]) == {*KNOWN, *COMPOUND[:compound]} and numbers["source"]
    sizes = numbers["sections"]["fold lists"]
    for number in range(1, 6):
        assert sizes[f"set_{number} test"] == numbers["folds"][str(number)]
        assert sizes[f"set_{number} train"] + sizes[f"set_{number} test"] == numbers["clips"]
    tables = numbers["sections"]["tables"]
    mixed = sum(count for label, count in numbers["labels"].items() if "_" in label)
    assert mixed == (tables["multi-set.xlsx"] if compound else 0)
    assert numbers["clips"] == (tables["descriptive_text.xlsx"] if not compound else 3800 + mixed)


def test_survey_counts_have_the_names_of_the_published_ones(with_tables):
    numbers = yaml.safe_load((REPOSITORY / "config" / "expected" / "mafw.yaml").read_text())
    reader = mafw(with_tables)
    counts = reader.survey(reader.clips()).counts
    assert {section: set(names) for section, names in numbers["sections"].items()} == {
        section: set(names) for section, names in counts.items()
    }
