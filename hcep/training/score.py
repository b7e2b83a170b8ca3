"""From a checkpoint to scores.h5: logits, score and features of a run's training and test clips."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from hcep.encoders.info import made_by
from hcep.errors import HcepError
from hcep.evaluation.scores import Scores, read_scores, write_scores
from hcep.files import sha256_file
from hcep.methods.method import MODALITIES, Method
from hcep.progress import say
from hcep.seal import read_sealed_json, write_sealed_json
from hcep.training.checkpoint import read_checkpoint
from hcep.training.kept import keep, take_over
from hcep.training.memory import peak_memory_gb
from hcep.training.run import Inputs, Run, on_cpu


def score(
    inputs: Inputs,
    method_class: type[Method],
    checkpoint: Path,
    output: Path,
    timing: Path,
    *,
    code: str = "",
    reuse: bool = False,
) -> None:
    """Score the training and test clips of a run with its checkpoint and write ``scores.h5``.

    `timing` (JSON) holds what scoring the test clips took on this machine: ``method, known, clips, seconds,
    clips_per_s, memory_gb, device``; the training clips, scored first, warm it up.

    Parameters
    ----------
    code : str
        Digest of the code that this executes, which the scores keep.
    reuse : bool
        Whether to take over what an earlier job made of this model, these clips and this code.

    Raises
    ------
    HcepError
        When the checkpoint does not belong to these encoders or this split.
    """
    state, metadata = read_checkpoint(checkpoint)
    encoder, name, settings = metadata["encoder"], metadata["method"], metadata["settings"]
    if encoder["sha256"] != made_by(inputs.encoder):
        cause = f"was trained with other weights of {encoder['name']}, or on other audio layers"
        raise HcepError(cause, file=checkpoint, remedy="train again")
    run = Run(inputs, method_class, settings, metadata["seed"])
    split = run.split
    if metadata["classes"] != list(split.known):
        raise HcepError("was trained on other classes than the split names", file=checkpoint, remedy="train again")
    tested = [*split.test_known, *split.test_unknown]
    if not split.train or not tested:
        raise HcepError("the split has no training clip or no test clip", file=inputs.split)
    made_of = run.made_of()
    changed = [name for name, found in made_of.items() if metadata["made_of"].get(name) != found]
    clips = [*split.train, *tested]
    if changed:
        run.feed(clips)  # features that are damaged are told as that
        cause = f"was trained with another content of {', '.join(changed)}"
        raise HcepError(cause, file=checkpoint, remedy="train again")
    made_of = {"model": sha256_file(checkpoint), "code": code} | made_of
    title = f"score {name} {split.openness} {split.split}"
    if reuse and take_over(output, timing, current=lambda *kept: _is_current(kept[0], kept[1], made_of)):
        say(f"{title}: was done before with this model, these clips and this code")
        return
    feed = run.feed(clips)
    method = run.build(feed)
    method.load_state_dict(state)
    trained, count = len(split.train), len(tested)
    first = run.predict(method, feed, range(trained), f"{title}, training clips")
    unseen = method.training_score(feed.batches(settings["batch_size"], torch.arange(trained)))
    if unseen is not None:
        first = first._replace(score=torch.where(unseen.isnan(), first.score.double(), unseen))
    start = time.perf_counter()
    then = run.predict(method, feed, range(trained, len(clips)), f"{title}, test clips")
    seconds = time.perf_counter() - start
    found = on_cpu([first, then])
    took = {"method": name, "known": len(split.known), "clips": count, "seconds": seconds}
    took |= {"clips_per_s": count / seconds, "memory_gb": peak_memory_gb(feed.device), "device": str(feed.device)}
    write_sealed_json(timing, took)
    logits = found.logits.double().numpy()
    features = {key: found.features[key].float().numpy() for key in (*MODALITIES, "fused") if key in found.features}
    choice = inputs.encoder.get("audio_layers") if "audio" in method_class.towers else None
    layers = [f"audio layers: {choice}"] if choice else []
    kinds = sorted(set(run.store.text_kinds(clips)) - {"none"}) or ["none"]
    write_scores(
        output,
        Scores(
            dataset=np.array([split.datasets[clip] for clip in clips]),
            clip=np.array(clips),
            part=np.array(["train"] * trained + ["test"] * count),
            label=np.array([split.labels[clip] for clip in clips]),
            group=np.array([split.groups[clip] for clip in clips]),
            prediction=np.array(split.known)[logits.argmax(axis=1)],
            flags=np.array(run.store.flags(clips)),
            known=feed.labels.numpy() >= 0,
            logits=logits,
            score=found.score.double().numpy(),
            features=features,
            classes=split.known,
            method=name,
            **{key: getattr(split, key) for key in ("task", "openness", "split")},
            remarks=(*split.remarks, *layers),
            seed=metadata["seed"],
            settings=settings | {"epoch": metadata["epoch"]},
            versions=metadata["versions"],
            stand_in=encoder["stand_in"],
            text_kind=";".join(kinds),
            faces=run.store.faces,
            left_out=split.left_out_classes,
            made_of=made_of,
        ),
    )
    if reuse:
        keep(output, timing)


def _is_current(output: Path, timing: Path, made_of: Mapping[str, str]) -> bool:
    read_sealed_json(timing)
    return read_scores(output).made_of == made_of
