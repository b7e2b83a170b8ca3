"""CREMA-D: acted and voted labels, folds by speaker, the twelve sentences, git-LFS pointers; what is wrong."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import yaml
from releases.crema_d import POINTER, SENTENCES, make_release

from hcep.datasets import crema_d
from hcep.datasets.build import build_manifest
from hcep.datasets.check import check_release
from hcep.datasets.crema_d import CremaD, read_votes
from hcep.datasets.manifest_file import Clip, read_manifest
from hcep.errors import HcepError

EMOTIONS = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happiness",
    "NEU": "neutral",
    "SAD": "sadness",
}
EXPECTED = Path(__file__).parents[2] / "config/expected/crema_d.yaml"


def read(root: Path, **settings) -> dict[str, Clip]:
    build_manifest("crema_d", root, "crema_d", settings, root / "manifest.tsv")
    return {clip.clip: clip for clip in read_manifest(root / "manifest.tsv")}


def write_list(root: Path, *names: str) -> Path:
    lines = ['"Stimulus_Number","Filename"', *(f'{number},"{name}"' for number, name in enumerate(names, 1))]
    (root / "SentenceFilenames.csv").write_text("\n".join(lines) + "\n")
    return root


def write_votes(root: Path, **votes: str) -> Path:
    header = '"","FileName","VoiceVote","VoiceLevel","FaceVote","FaceLevel","MultiModalVote","MultiModalLevel"'
    rows = [f'"{n}","{name}","S","9","A:D","1:2","{vote}","60"' for n, (name, vote) in enumerate(votes.items())]
    (root / "summaryTable.csv").write_text("\n".join([header, *rows]) + "\n")
    return root / "summaryTable.csv"


def test_rows_of_a_release(tmp_path, capsys):
    made = make_release(tmp_path)
    clips = read(tmp_path)
    assert "60 clips of 10 actors; 0 without label" in capsys.readouterr().err
    assert list(clips) == [each.name for each in made]
    for name, clip in clips.items():
        actor, sentence, emotion, _ = name.split("_")
        assert clip.video == f"CREMA-D/VideoFlash/{name}.flv" and clip.audio == f"CREMA-D/AudioWAV/{name}.wav"
        assert clip.label == clip.labels == EMOTIONS[emotion]
        # 1001 and 1006 fold 1, 1002 and 1007 fold 2, ...
        assert (clip.group, clip.fold) == (f"actor{actor}", str((int(actor) - 1001) % 5 + 1))
        assert (clip.text, clip.text_kind, clip.language) == (crema_d.SENTENCES[sentence], "transcript", "en")
    assert set(Counter((clip.label, clip.fold) for clip in clips.values()).values()) == {2}


def test_folds_go_round_the_actors_that_are_there(tmp_path):
    actors = ["1001", "1004", "1005", "1050", "1051", "1089", "1091"]
    write_list(tmp_path, *(f"{actor}_IEO_SAD_LO" for actor in reversed(actors)))
    folds = {clip.group[5:]: clip.fold for clip in CremaD(tmp_path, {}).clips()}
    assert folds == dict(zip(actors, ["1", "2", "3", "4", "5", "1", "2"], strict=True))


def test_the_twelve_sentences():
    assert set(crema_d.SENTENCES) == set(SENTENCES) and len(set(crema_d.SENTENCES.values())) == 12
    assert crema_d.SENTENCES["WSI"] == "We'll stop in a couple of minutes"


@pytest.mark.parametrize("text", ["none", "asr"])
def test_without_words(tmp_path, text):
    clips = CremaD(write_list(tmp_path, "1001_IEO_SAD_LO"), {"text": text}).clips()
    assert [(clip.text, clip.text_kind) for clip in clips] == [("", text)]


def test_voted_labels(tmp_path, capsys):
    names = ["1001_IEO_SAD_LO", "1001_IEO_SAD_MD", "1001_IEO_SAD_HI", "1002_TIE_ANG_XX"]
    write_list(tmp_path, *names)
    votes = write_votes(tmp_path, **dict(zip(names, ["N", "A:S", "S"], strict=False)))
    assert read_votes(votes) == {names[0]: ["neutral"], names[1]: ["anger", "sadness"], names[2]: ["sadness"]}
    reader = CremaD(tmp_path, {"label": "vote"})
    clips = reader.clips()
    assert [(clip.label, clip.labels) for clip in clips] == [
        ("neutral", "neutral"),
        ("", "anger;sadness"),
        ("sadness", "sadness"),
        ("", ""),
    ]
    assert "4 clips of 2 actors; 2 without label" in capsys.readouterr().err
    survey = reader.survey(clips)
    assert survey.counts["voted"] == {
        "anger": 0,
        "disgust": 0,
        "fear": 0,
        "happiness": 0,
        "neutral": 1,
        "sadness": 1,
        "tie": 1,
    }
    assert survey.counts["votes"] == {"as acted": 1} and survey.counts["acted"]["sadness"] == 3
    assert ("clips without votes", 1, [names[3]]) in [(f.what, f.cases, list(f.examples)) for f in survey.faults]
    votes.unlink()
    with pytest.raises(HcepError, match=r"summaryTable.csv is missing.*label: acted"):
        CremaD(tmp_path, {"label": "vote"}).clips()


def test_release_is_found_wherever_it_lies(tmp_path):
    make_release(tmp_path / "data")
    base = tmp_path / "data/CREMA-D"
    (base / "VideoFlash").rename(base / "video_flash")
    assert CremaD(base, {}).clips()[0].video == "video_flash/1001_IEO_ANG_XX.flv"
    assert CremaD(tmp_path / "data", {}).clips()[0].audio == "CREMA-D/AudioWAV/1001_IEO_ANG_XX.wav"


def test_clips_on_disk_when_there_is_no_list(tmp_path):
    make_release(tmp_path)
    listed = CremaD(tmp_path, {}).clips()
    (tmp_path / "CREMA-D/SentenceFilenames.csv").unlink()
    assert CremaD(tmp_path, {}).clips() == listed
    (tmp_path / "CREMA-D/VideoFlash/1001_IEO_ANG_XX.flv").rename(tmp_path / "CREMA-D/VideoFlash/1001_IEO_JOY_XX.flv")
    with pytest.raises(HcepError, match=r"VideoFlash, 1001_IEO_JOY_XX.flv: .* unknown emotion 'JOY'"):
        CremaD(tmp_path, {}).clips()
    with pytest.raises(HcepError, match=r"neither SentenceFilenames.csv nor VideoFlash.*git-lfs"):
        CremaD(tmp_path / "CREMA-D/AudioWAV", {}).clips()


def test_faulty_release_keeps_every_row(tmp_path):
    made = make_release(tmp_path, faults=True)
    names = [each.name for each in made]
    clips = list(read(tmp_path, label="vote").values())
    assert [clip.clip for clip in clips] == names
    assert clips[0].video == f"CREMA-D/VideoFlash/{names[0]}.flv" and clips[1].audio == clips[1].video
    assert clips[2].audio == f"CREMA-D/AudioWAV/{names[2][:-1]}.wav"
    assert [(clip.label, clip.labels) for clip in clips[3:5]] == [("", ""), ("", "anger;disgust;neutral")]
    check = check_release("crema_d", tmp_path, "crema_d", {}, expected=EXPECTED)
    faults = {fault.what: (fault.severity, fault.cases, list(fault.examples)) for fault in check.faults}
    # of 60 clips, every twelfth .flv is looked at, and the sixth is none of them
    pointer = "clips whose media file is a git-LFS pointer, not the media (fetch it with git lfs pull)"
    assert faults == {
        "clips without votes": ("warning", 1, [names[3]]),
        "files that the list of clips does not name (not used)": ("warning", 1, ["1999_IEO_ANG_XX"]),
        "clips without a .wav (the sound of the .flv is used)": ("warning", 1, [names[1]]),
        "clips whose media file is missing": ("error", 1, [names[0]]),
        pointer: ("error", 1, [names[5]]),
    }
    here = {(count.section, count.name): (count.here, count.published) for count in check.counts}
    assert here["release", "flv files"] == (60 - 1 + 1, 7442) and here["release", "wav files"] == (59, 7442)
    assert here["release", "actors"] == (10, 91) and here["acted", "neutral"] == (10, 1087)


def test_pointers_of_git_lfs_are_an_error(tmp_path):
    names = [f"10{number:02d}_IEO_SAD_LO" for number in range(40)]
    write_list(tmp_path, *names)
    for folder, suffix in (("VideoFlash", "flv"), ("AudioWAV", "wav")):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / f"{name}.{suffix}").write_text(POINTER if suffix == "flv" else "RIFF and so on")
    reader = CremaD(tmp_path, {})
    (fault,) = reader.survey(reader.clips()).faults
    # five of the forty: 0, 8, 16, 24, 32
    assert (fault.severity, fault.cases) == ("error", 5)
    assert fault.examples[:2] == ["VideoFlash/1000_IEO_SAD_LO.flv", "VideoFlash/1008_IEO_SAD_LO.flv"]
    assert "git lfs pull" in fault.remedy


def test_published_numbers_have_the_names_of_the_survey(tmp_path):
    published = yaml.safe_load(EXPECTED.read_text())
    reader = CremaD(write_list(tmp_path, "1001_IEO_SAD_LO"), {})
    counts = reader.survey(reader.clips()).counts
    assert {section: table.keys() for section, table in published["sections"].items()} == {
        section: table.keys() for section, table in counts.items()
    }
    assert sum(published["sections"]["acted"].values()) == published["clips"] == 7442


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("1001_IEO_SAD_LO", "clip '1001_IEO_SAD_LO' is already in row 2"),
        ("1001_IEO_SAD", "'1001_IEO_SAD' is not a name"),
        ("1001_IEO_SAD_LO.flv", "'1001_IEO_SAD_LO.flv' is not a name"),
        ("1001_ABC_SAD_LO", "unknown sentence 'ABC'"),
        ("1001_IEO_SUR_LO", "unknown emotion 'SUR'"),
    ],
)
def test_bad_list_names_row_cause_and_remedy(tmp_path, name, cause):
    write_list(tmp_path, "1001_IEO_SAD_LO", name)
    with pytest.raises(HcepError) as caught:
        CremaD(tmp_path, {}).clips()
    assert f"{tmp_path / 'SentenceFilenames.csv'}, row 3" in str(caught.value) and cause in str(caught.value)
    assert caught.value.remedy


def test_bad_votes_name_row_cause_and_remedy(tmp_path):
    path = write_votes(tmp_path, a="A", b="A:X")
    with pytest.raises(HcepError, match=r"summaryTable.csv, row 3: unknown vote 'X' in 'A:X'.*Remedy"):
        read_votes(path)
    path.write_text(path.read_text().replace('"b"', '"a"'))
    with pytest.raises(HcepError, match=r"row 3: clip 'a' is there twice.*Remedy"):
        read_votes(path)
    path.write_text("FileName,VoiceVote\na,A\n")
    with pytest.raises(HcepError, match=r"row 1: lacks the column MultiModalVote.*Remedy"):
        read_votes(path)
    (tmp_path / "SentenceFilenames.csv").write_text("Number,Name\n1,a\n")
    with pytest.raises(HcepError, match=r"SentenceFilenames.csv, row 1: lacks the column Filename.*Remedy"):
        CremaD(tmp_path, {}).clips()


@pytest.mark.parametrize("settings", [{"label": "voice"}, {"text": "caption"}, {"labels": "acted"}])
def test_bad_settings(tmp_path, settings):
    with pytest.raises(HcepError, match=r"adapter.*Remedy"):
        CremaD(tmp_path, settings)


def test_watch_sees_what_a_manifest_is_made_of(tmp_path):
    made = make_release(tmp_path)
    base = tmp_path / "CREMA-D"

    def watch(label: str = "acted") -> list[str]:
        return CremaD(tmp_path, {"label": label}).watch()

    acted, voted = watch(), watch("vote")
    (base / "SentenceFilenames.csv").touch()
    assert (watch(), watch("vote")) == (acted, voted)
    table = base / "processedResults/summaryTable.csv"
    table.write_text(table.read_text().replace('"61.5"', '"61.6"'))
    assert watch() == acted and watch("vote") != voted
    (base / f"AudioWAV/{made[7].name}.wav").unlink()
    assert [old == new for old, new in zip(acted, watch(), strict=True)] == [True, True, False]
    write_list(base, *(each.name for each in made[1:]))
    assert [old == new for old, new in zip(acted, watch(), strict=True)] == [False, True, False]


def test_published_defects_of_this_copy_are_told(tmp_path):
    files = {
        "VideoFlash": ["1064_IEO_DIS_MD.flv", "1076_MTI_NEU_XX.flv", "1064_TIE_SAD_XX.flv", "1076_MTI_SAD_XX.flv"],
        "AudioWAV": ["1076_MTI_SAD_XX.wav", "1040_ITH_SAD_X.wav"],
    }
    names = {name.partition(".")[0] for group in files.values() for name in group} - {"1040_ITH_SAD_X"}
    write_list(tmp_path, "1001_IEO_SAD_LO", "1040_ITH_SAD_XX", *sorted(names))
    for folder, group in files.items():
        (tmp_path / folder).mkdir()
        for name in group:
            (tmp_path / folder / name).write_bytes(b"x")
    reader = CremaD(tmp_path, {})
    clips = reader.clips()
    (fault,) = [fault for fault in reader.survey(clips).faults if "published defects" in fault.what]
    assert (fault.severity, fault.cases) == ("warning", 6) and "stay in the data" in fault.what
    assert [example.split()[0] for example in fault.examples] == sorted(
        [name for group in files.values() for name in group], key=list(crema_d.DEFECTS).index
    )
    # the clips keep their rows, and a copy without these files has no such fault
    assert names <= {clip.clip for clip in clips}
    for folder, group in files.items():
        for name in group:
            (tmp_path / folder / name).unlink()
    (tmp_path / "AudioWAV/1040_ITH_SAD_XX.wav").write_bytes(b"x")
    assert not [fault for fault in reader.survey(clips).faults if "published defects" in fault.what]
