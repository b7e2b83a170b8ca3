"""`hcep predict` beside the same work through the cache, and its first answer beside `import torch`; JSON lines.

python benchmarks/predict.py [--run results/demo/hcep/k8u2/split1/seed0] [--rounds 3]

From the folder of a workflow that has made the run. Both sides take the test clips of the run, from their files, on one
decoder thread, with a model that is loaded: `predict_many`, and decode_frames, decode_audio, transcribe and index_cache
into a new folder and the batches of `hcep score` from there. They take turns, and the median of each is printed. The
first answer is that of a new process, for one clip.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from hcep.config.methods import METHODS
from hcep.datasets.manifest_file import Clip, read_manifest, write_manifest
from hcep.evaluation.scores import read_scores
from hcep.inference.clips import clip_of
from hcep.inference.export import export
from hcep.inference.model import Model, load
from hcep.media.audio import decode_audio
from hcep.media.frames import decode_frames
from hcep.media.index import index_cache
from hcep.media.store import ClipStore
from hcep.media.transcribe import transcribe
from hcep.training.feed import MediaFeed

SHARD = "000-of-001"


def cached(model: Model, clips: list[Clip], root: Path, folder: Path) -> list[float]:
    """Scores of clips through shards, an index and a feed."""
    manifest, chosen = folder / "manifest.tsv", model.about.preprocessing
    write_manifest(manifest, clips)
    paths = {kind: folder / kind / f"{SHARD}.h5" for kind in ("frames", "audio", "text")}
    decode_frames(manifest, root, SHARD, paths["frames"], frames=chosen.frames, size=chosen.size)
    decode_audio(manifest, root, SHARD, paths["audio"], samples=chosen.samples)
    transcribe(manifest, root, SHARD, paths["text"], source="manifest")
    index_cache(manifest, {kind: [path] for kind, path in paths.items()}, folder / "index.h5", folder / "qc.tsv")
    store, names = ClipStore(folder / "index.h5", folder), [clip.clip for clip in clips]
    feed = MediaFeed(store, names, [-1] * len(names), model.encoders.text.tokenize, model.device, 10**9)
    with torch.no_grad():
        found = [model.method.predict(batch) for batch in feed.batches(model.about.settings["batch_size"])]
    return torch.cat([one.score for one in found]).tolist()


def seconds(work: Callable[[], object]) -> float:
    """Wall time."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def first_answer(folder: Path, clip: Path, rounds: int) -> dict[str, float]:
    """Seconds from the start of a process to the answer for one clip, and to the end of `import torch`."""
    predict, alone = [], []
    for _ in range(rounds):
        command = [sys.executable, "-m", "hcep.cli", "predict", str(folder), str(clip)]
        predict.append(seconds(lambda: subprocess.run(command, check=True, capture_output=True)))  # noqa: B023
        alone.append(seconds(lambda: subprocess.run([sys.executable, "-c", "import torch"], check=True)))
    first, bare = statistics.median(predict), statistics.median(alone)
    return {"first_answer_s": first, "import_torch_s": bare, "ratio": first / bare}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, default=Path("results/demo/hcep/k8u2/split1/seed0"))
    parser.add_argument("--dataset", default="demo", help="the run's dataset, whose release lies in resources/*/raw")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    resources, method = Path("resources") / given.dataset, given.run.parts[-4]
    if METHODS.get(method) is None or METHODS[method].inputs != "media":
        parser.error("name a run of a base method on media, such as hcep")
    scores = read_scores(given.run / "scores.h5", features=False)
    tested = {str(name) for name in scores.clip[scores.part == "test"]}
    clips = [clip for clip in read_manifest(resources / "manifest.tsv") if clip.clip in tested]
    files = [
        clip_of(resources / "raw" / clip.video, name=clip.clip, text=clip.text, text_kind=clip.text_kind)
        for clip in clips
        if clip.video
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        encoder = Path("resources/encoders", given.dataset)
        export(given.run, method, [resources / "index.h5"], encoder, folder / "model", with_encoder=True)
        model = load(folder / "model", device="cpu")
        ours, other = [], []
        found: dict[str, list[float | None]] = {}

        def predicted() -> None:
            found["predict"] = [answer.score for answer in model.predict_many(files)]

        for number in range(given.rounds + 1):  # the first round warms up
            ours.append(seconds(predicted))
            place = folder / str(number)
            place.mkdir()
            other.append(seconds(lambda: found.update(cache=cached(model, clips, resources / "raw", place))))  # noqa: B023
        pairs = zip(found["predict"], found["cache"], strict=True)
        took = [statistics.median(times[1:]) for times in (ours, other)]
        result = {"benchmark": "predict", "clips": len(files), "threads": torch.get_num_threads()}
        result |= {"predict_clips_s": len(files) / took[0], "decode_and_score_clips_s": len(files) / took[1]}
        result |= {"ratio": took[1] / took[0], "largest_difference": max(abs(a - b) for a, b in pairs)}  # type: ignore[operator]
        print(json.dumps(result), flush=True)
        first = first_answer(folder / "model", Path(files[0].video), given.rounds)
        print(json.dumps({"benchmark": "predict_first_answer"} | first), flush=True)


if __name__ == "__main__":
    main()
