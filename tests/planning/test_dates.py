"""Input files dated in the future: refused before anything is made of them, and the remedy that is named works."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time

import pytest

from hcep.dates import SLACK, refuse_future
from hcep.errors import HcepError

DAY = 86_400
INDEX = "resources/tiny/index.h5"


def date(path, seconds: float) -> None:
    """Set a file's date to so many seconds from now; a link's own date, not its target's."""
    moment = time.time() + seconds
    os.utime(path, (moment, moment), follow_symlinks=False)


def test_the_latest_file_is_named_with_its_date_and_a_command(tmp_path):
    paths = [tmp_path / name for name in ("past.mp4", "it's late.mp4", "later.mp4")]
    for path, seconds in zip(paths, (-DAY, DAY, 2 * DAY), strict=True):
        path.touch()
        date(path, seconds)
    with pytest.raises(HcepError, match=r"in the future \(2 such files here\)") as told:
        refuse_future([*paths, tmp_path / "missing.mp4"])
    assert told.value.file == str(paths[2])
    assert time.strftime("%Y-%m-%d", time.localtime(time.time() + 2 * DAY)) in told.value.cause
    with pytest.raises(HcepError) as told:
        refuse_future(paths[:2])
    for command in re.findall(r"`((?:touch|find) .*?)`", told.value.remedy):
        date(paths[1], DAY)
        subprocess.run(command, shell=True, check=True)
        refuse_future(paths[:2])


def test_what_a_clock_may_be_ahead_is_no_future(tmp_path):
    path = tmp_path / "clip.mp4"
    path.touch()
    date(path, SLACK / 2)
    refuse_future([path])


def test_a_link_counts_by_its_own_date(tmp_path):
    target, link = tmp_path / "clip.mp4", tmp_path / "link.mp4"
    target.touch()
    link.symlink_to(target)
    date(target, DAY)
    refuse_future([link])
    date(target, -DAY)
    date(link, DAY)
    with pytest.raises(HcepError, match=r"link\.mp4: the file is dated"):
        refuse_future([link])


@pytest.mark.slow
def test_a_clip_of_the_future_is_told_before_anything_is_decoded_and_the_remedy_works(fresh):
    date(fresh.path("data/tiny/fear_2.mp4"), 2 * DAY)
    outcome = fresh.snakemake(INDEX, fails=True)
    assert re.search(r"HcepError: data/tiny/fear_2.mp4: the file is dated .*, in the future: .*Remedy: ", outcome.text)
    assert outcome.begun == ["list the clips of tiny"]
    command = re.search(r"`(find .*?)`", outcome.text)
    subprocess.run(command[1], shell=True, check=True, cwd=fresh.root)
    fresh.snakemake(INDEX)
    assert not fresh.snakemake("-n", INDEX).begun


@pytest.mark.slow
def test_links_to_a_release_of_the_future_that_is_read_only_work(fresh):
    # as `cp -rs` lays them
    fresh.path("data").rename(fresh.path("read_only"))
    for path in list(fresh.path("read_only/tiny").iterdir()):
        date(path, 2 * DAY)
        link = fresh.path("data/tiny") / path.name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    follow = {"datasets": {"tiny": {"follow_links": True}}}
    fresh.snakemake(INDEX, config=follow)
    assert not fresh.snakemake("-n", INDEX, config=follow).begun


@pytest.mark.slow
def test_a_table_of_the_future_is_told_before_the_clips_are_listed(fresh):
    date(fresh.path("data/tiny/clips.tsv"), 2 * DAY)
    outcome = fresh.snakemake(INDEX, fails=True)
    assert "HcepError: data/tiny/clips.tsv: the file is dated" in outcome.text and not outcome.begun


@pytest.mark.slow
@pytest.mark.parametrize(("name", "method"), [("encoders/tiny/encoder.json", "hcep"), ("mine.h5", "arpl_imagebind")])
def test_weights_and_supplied_features_of_the_future_are_told_before_training(finished, name, method):
    path = finished.path(f"resources/{name}")
    path.touch()
    date(path, 2 * DAY)
    # what is there already is left alone
    assert not finished.snakemake("-n").begun
    task = {"methods": [method], "seeds": [7], "training": {"epochs": 9}}
    datasets = {"tiny": {"features_files": {"imagebind": "resources/mine.h5"}}}
    config = {"methods": {"arpl_imagebind": {"base": "arpl_mm", "encoder": "imagebind"}}, "datasets": datasets}
    run = f"results/tiny/{method}/k2u2/split1/seed7/metrics.json"
    outcome = finished.snakemake(run, config=config | {"task_definitions": {"tiny": task}}, fails=True)
    assert f"HcepError: resources/{name}: the file is dated" in outcome.text and not outcome.begun


@pytest.mark.slow
def test_a_clip_replaced_by_one_of_the_future_is_not_decoded(finished):
    clip = finished.path("data/tiny/fear_2.mp4")
    shutil.copy(finished.path("data/tiny/fear_3.mp4"), clip)
    date(clip, 2 * DAY)
    outcome = finished.snakemake(INDEX, fails=True)
    assert "hcep decode_frames: data/tiny/fear_2.mp4: the file is dated" in outcome.text
    assert "older modification time" not in outcome.text and not outcome.finished


@pytest.mark.slow
def test_what_snakemake_deletes_for_another_inputs_date_is_explained(finished):
    finished.append("config/splits/tiny.yaml", "# a comment\n")
    date(finished.path("config/splits/tiny.yaml"), 2 * DAY)
    outcome = finished.snakemake("results/tiny/splits/k2u2/split1.json", fails=True)
    assert "config/splits/tiny.yaml: what was made from this file was deleted" in outcome.text
    assert "`touch -h config/splits/tiny.yaml`" in outcome.text
