"""What plans know of the rows of a manifest: read once, and again when it is another one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from hcep.datasets.manifest_file import Clip, write_manifest
from hcep.planning import clips as plans
from hcep.planning.clips import ClipPlan
from hcep.planning.engine import Engine
from hcep.planning.rows import Rows

JOBS = [SimpleNamespace(dataset="mine", shard=f"{number:03d}-of-002") for number in range(2)]


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """Make a plan of a process over the manifest of this folder, and count how often that is read."""
    monkeypatch.chdir(tmp_path)
    reads = []
    read = plans.read_manifest
    monkeypatch.setattr(plans, "read_manifest", lambda path: reads.append(path) or read(path))

    def make(is_main=True):
        plans._clips_by_shard.cache_clear()
        config = SimpleNamespace(dataset=lambda name: SimpleNamespace(root="", shards=2))
        return ClipPlan(config, Engine(lambda name: "manifest.tsv", str, is_main)), reads

    return make


def write(texts):
    write_manifest("manifest.tsv", [Clip(name, video=f"{name}.mp4", text=text) for name, text in texts.items()])


def answers(plan):
    return [
        ask(job) for ask in (plan.rows("text"), plan.rows("video"), plan.contents("video", "frames")) for job in JOBS
    ]


def test_a_manifest_is_read_once_by_whatever_processes_and_again_when_it_changes(plan):
    texts = {f"clip{number}": f"word {number}" for number in range(8)}
    write(texts)
    one, reads = plan()
    found = answers(one)
    assert len(reads) == 1
    for is_main in (True, False):
        other, _ = plan(is_main)
        assert answers(other) == found and len(reads) == 1
    write(texts | {"clip3": "another word"})
    changed = answers(plan()[0])
    # the words of one shard, and nothing else
    assert [one == other for one, other in zip(changed, found, strict=True)].count(False) == 1
    assert len(reads) == 2


def test_a_job_leaves_no_memory_and_damaged_memory_is_none(plan, tmp_path):
    write({"a": "one", "b": "two"})
    found = answers(plan(is_main=False)[0])
    assert not (tmp_path / ".snakemake").exists()
    assert answers(plan()[0]) == found
    for text in ("", '{"made_of": 3}', "[]", '{"made_of": [], "known": {"rows text": 1}}'):
        for path in (tmp_path / ".snakemake/hcep/mine").glob("*.rows.json"):
            path.write_text(text)
        assert answers(plan()[0]) == found


def test_a_shard_that_there_is_not_is_refused(plan):
    write({"a": "one"})
    with pytest.raises(ValueError, match="mine has no shard 001-of-003"):
        plan()[0].rows("text")(SimpleNamespace(dataset="mine", shard="001-of-003"))


def test_many_clips_of_a_release_are_told_by_their_content_alone(plan, tmp_path, monkeypatch):
    write({f"clip{number}": "" for number in range(8)})
    for number in range(7):
        (tmp_path / f"clip{number}.mp4").write_bytes(b"%d" % number)
    few, _ = plan()
    listed = few.media_files("video", "frames")
    assert sorted([*listed(JOBS[0]), *listed(JOBS[1])]) == [f"clip{number}.mp4" for number in range(7)]
    monkeypatch.setattr(plans, "MOST_INPUTS", 1)
    assert [listed(job) for job in JOBS] == [[], []]
    before = answers(few)
    seen = [before]
    for change in (
        lambda: (tmp_path / "clip7.mp4").write_bytes(b"it came"),
        lambda: (tmp_path / "clip3.mp4").write_bytes(b"another"),
        lambda: (tmp_path / "clip3.mp4").unlink(),
    ):
        change()
        now = answers(plan()[0])
        assert now not in seen and now[:4] == before[:4]
        seen.append(now)


def test_a_question_is_asked_of_the_clips_once(tmp_path):
    asked = []
    rows = Rows(tmp_path / "memory.json", [1], lambda: [Clip("a")], keep=True)
    for _ in range(2):
        assert rows.ask("names", lambda clips: asked.append(1) or [clip.clip for clip in clips]) == ["a"]
    assert asked == [1]
    assert Rows(tmp_path / "memory.json", [1], list, keep=True).ask("names", len) == ["a"]
    assert Rows(tmp_path / "memory.json", [2], list, keep=True).ask("names", len) == 0
