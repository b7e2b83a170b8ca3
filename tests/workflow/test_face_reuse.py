"""The option `faces` in the workflow: what it makes anew, what is watched, and where results say so."""

from __future__ import annotations

import json

import pytest
from releases import mafw
from releases.faces import write_folder
from workspace import RUN

pytestmark = pytest.mark.slow

INDEX = "resources/tiny/index.h5"
FACES = {"datasets": {"tiny": {"options": {"faces": "boxes"}}}}


def write_boxes(space, corner: int) -> None:
    clips = [line.split("\t")[0] for line in space.path("data/tiny/clips.tsv").read_text().splitlines()[1:]]
    rows = [f"{clip},0,{corner},0,20,20\n" for clip in clips[1:]]
    space.path("data/tiny/boxes.csv").write_text("clip,frame,x,y,w,h\n" + "".join(rows))


def decoded(outcome) -> set[str]:
    """First words of the messages of finished jobs."""
    return {" ".join(message.split(" of ")[0].split()[:2]) for message in outcome.finished}


def test_faces_decode_frames_and_nothing_else_anew(finished):
    sound, frames = finished.dates("resources/tiny/audio"), finished.dates("resources/tiny/frames")
    write_boxes(finished, 0)
    # a table that is not used is nobody's input
    assert finished.snakemake(INDEX).finished == []
    outcome = finished.snakemake(INDEX, config=FACES)
    assert decoded(outcome) == {"list the", "labels and", "decode frames", "index the"}
    assert finished.dates("resources/tiny/audio") == sound
    assert all(date != frames[name] for name, date in finished.dates("resources/tiny/frames").items())
    assert finished.snakemake(INDEX, config=FACES).finished == []
    # another table is another input, and is checked against the clips again
    write_boxes(finished, 4)
    assert "decode frames" in decoded(finished.snakemake(INDEX, config=FACES))
    assert finished.dates("resources/tiny/audio") == sound
    header, first, *_ = finished.path("resources/tiny/qc.tsv").read_text().splitlines()
    assert header.split("\t")[-1] == "faces" and "frames absent: boxes.csv has no box of this clip" in first
    # from the cache into what a run says of itself
    metrics = f"results/tiny/linear_msp/{RUN}/metrics.json"
    finished.snakemake(metrics, config=FACES)
    assert json.loads(finished.path(metrics).read_text())["faces"] == "boxes"
    # and back
    assert "decode frames" in decoded(finished.snakemake(INDEX))
    assert finished.dates("resources/tiny/audio") == sound
    finished.append("data/tiny/boxes.csv", "angry_0,x,0,0,9,9\n")
    text = finished.snakemake(INDEX, config=FACES, fails=True).text
    assert "boxes.csv, row" in text


def test_pictures_of_a_release_are_watched_by_their_folders(fresh):
    root = fresh.path("data/mafw")
    made = mafw.make_release(root, clips_per_class=1, compound=0, tables=False)
    clips = [clip for clip, label in made.single.items() if label != "neutral"]
    for number, clip in enumerate(clips):
        write_folder(root / "data/frames" / clip, number, range(4))
    sizes = {"frames": 2, "size": 32, "samples": 4000, "shards": 2}
    entry = {"adapter": "mafw", "root": "data/mafw", "options": {"faces": "release"}, **sizes}
    config, index = {"datasets": {"pictured": entry}}, "resources/pictured/index.h5"
    fresh.snakemake(index, config=config)
    assert fresh.snakemake(index, config=config).finished == []
    # a picture more in one folder: the shard of this clip alone
    write_folder(root / "data/frames" / clips[0], 0, [4])
    frames = [message for message in fresh.snakemake(index, config=config).finished if message.startswith("decode")]
    assert len(frames) == 1 and frames[0].startswith("decode frames of pictured")
