"""A trained run on disturbed test clips; its weights, its training clips and its thresholds stay as they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hcep.encoders.folder import Encoders
from hcep.encoders.info import made_by
from hcep.errors import HcepError
from hcep.evaluation.robustness import Outcome, write_robustness
from hcep.evaluation.scores import Scores, read_scores
from hcep.media.disturb import PARTS, DisturbedStore
from hcep.methods.features import encode_media
from hcep.methods.method import Method, Prediction
from hcep.progress import progress
from hcep.protocol.make_split import Split
from hcep.training.checkpoint import read_checkpoint
from hcep.training.devices import choose_device
from hcep.training.feed import FeatureFeed, MediaFeed, missing_mask
from hcep.training.run import Inputs, Run

# share of the deviation of a run's scores: rounding on another device differs by less, another training by more
TOLERANCE = 0.05
MODALITY = {part: modality for modality, part in PARTS.items()}
SUPPLIED = "not applied: the features were supplied, so disturbed clips cannot be encoded"


@torch.no_grad()
def robustness(
    inputs: Inputs,
    encoders: Encoders | None,
    method_class: type[Method],
    checkpoint: Path,
    scores: Path,
    output: Path,
    replicates_h5: Path,
    levels: Mapping[str, Sequence[float | str]],
    *,
    disturbance_seed: int,
    replicates: int,
    confidence: float,
    seed: int,
) -> None:
    """Score the test clips of a run under every kind and level of disturbance, without training.

    Methods on media read the disturbed clips. For methods on cached features the disturbed part of a clip is encoded as
    `encode` does it, and takes the place of the cached feature; clips that nothing changed keep theirs.

    Parameters
    ----------
    encoders : Encoders or None
        What the cached features of `inputs` were made with; None where a user supplied them. Methods on media take the
        encoders of `inputs`.
    checkpoint, scores : path
        ``model.safetensors`` and ``scores.h5`` of the run.
    output, replicates_h5 : path
        Files to write, see `write_robustness`.
    levels : mapping
        Kind of disturbance (`hcep.media.disturb`) to its levels.
    disturbance_seed : int
        Of what is drawn for the clips.
    replicates, confidence, seed
        Of the bootstrap, as in `evaluate`.

    Raises
    ------
    HcepError
        Checkpoint, scores, split and encoders are not of one run, or a score is not finite.
    """
    stored = read_scores(scores, features=False)
    state, metadata = read_checkpoint(checkpoint)
    settings = metadata["settings"]
    run = Run(inputs, method_class, settings, metadata["seed"])
    _refuse_other_run(run, metadata, stored, checkpoint, scores)
    clips = [*run.split.test_known, *run.split.test_unknown]
    store, clean = run.store, run.feed(clips)
    method = run.build(clean)
    method.load_state_dict(state)
    _refuse_other_scores(run.predict(method, clean), stored, checkpoint, scores)
    cached = method_class.inputs == "features"
    if encoders is not None:
        # methods on features leave an accelerator alone, the encoders do not
        reservation = choose_device(settings["device"] if run.device.type == "cpu" else str(run.device))
        for module in encoders.modules():
            module.to(reservation.device)
    wanted = [(kind, level) for kind, own in levels.items() for level in own]

    def outcomes() -> Iterator[Outcome]:
        title = f"robustness {stored.method} {stored.openness} {stored.split}"
        for kind, level in progress(wanted, len(wanted), title, "level"):
            disturbed = DisturbedStore(store, kind, level, trained=run.split.train, seed=disturbance_seed)
            name = level if isinstance(level, str) else f"{level:g}"
            reasons = disturbed.left_alone(clips)
            if cached and encoders is None:
                yield Outcome(kind, name, 0, SUPPLIED)
                continue
            if all(reasons):
                yield Outcome(kind, name, 0, f"not applied: {_note(reasons)}")
                continue
            # the run itself makes every feed, since it numbers all clips that its method meets
            run.store = disturbed
            feed = run.feed(clips)
            if isinstance(feed, FeatureFeed) and encoders:
                _encode_disturbed(feed, disturbed, encoders, settings)
            found = run.predict(method, feed)
            logits, score = found.logits.double().numpy(), found.score.double().numpy()
            prediction = np.array(stored.classes)[logits.argmax(axis=1)]
            yield Outcome(kind, name, len(disturbed.changed), _note(reasons), score, prediction)

    write_robustness(
        stored,
        scores,
        outcomes(),
        output,
        replicates_h5,
        replicates=replicates,
        confidence=confidence,
        seed=seed,
    )


def _refuse_other_run(run: Run, metadata: Mapping[str, Any], stored: Scores, checkpoint: Path, scores: Path) -> None:
    """Refuse a checkpoint of other encoders or classes, and scores of another run."""
    split: Split = run.split
    if metadata["encoder"]["sha256"] != made_by(run.inputs.encoder):
        cause = f"was trained with other weights of {metadata['encoder']['name']}, or on other audio layers"
        raise HcepError(cause, file=checkpoint, remedy="train again")
    if metadata["classes"] != list(split.known):
        raise HcepError("was trained on other classes than the split names", file=checkpoint, remedy="train again")
    again = "score the run again, with this checkpoint and split"
    settings = metadata["settings"] | {"epoch": metadata["epoch"]}
    found = {"method": stored.method, "seed": stored.seed, "settings": stored.settings}
    wanted = {"method": metadata["method"], "seed": metadata["seed"], "settings": settings}
    for name, value in found.items():
        if value != wanted[name]:
            cause = f"{name} of the scores is not that of {checkpoint}"
            raise HcepError(cause, file=scores, remedy=again)
    test = stored.part == "test"
    clips = [[*split.train], [*split.test_known, *split.test_unknown]]
    if [stored.clip[~test].tolist(), stored.clip[test].tolist()] != clips or list(stored.classes) != list(split.known):
        raise HcepError(f"clips or classes are not those of {run.inputs.split}", file=scores, remedy=again)


def _refuse_other_scores(found: Prediction, stored: Scores, checkpoint: Path, scores: Path) -> None:
    """Refuse scores that the checkpoint does not give on the clips as they are."""
    test = stored.part == "test"
    own, wanted = found.score.double().numpy(), stored.score[test]
    far = ~(np.abs(own - wanted) <= TOLERANCE * stored.score[test].std())
    if far.any():
        place = f"clip {stored.clip[test][far.argmax()]}"
        cause = f"{checkpoint} gives other scores for {far.sum()} of {len(own)} test clips"
        remedy = "score the run again, on the kind of device that this step uses"
        raise HcepError(cause, file=scores, row=place, remedy=remedy)


def _note(reasons: Sequence[str]) -> str:
    """Which clips were left alone: ``5 of 80 clips without sound``."""
    counts = Counter(reason for reason in reasons if reason)
    return "; ".join(f"{count} of {len(reasons)} clips {reason}" for reason, count in counts.items())


def _encode_disturbed(
    feed: FeatureFeed, disturbed: DisturbedStore, encoders: Encoders, settings: Mapping[str, Any]
) -> None:
    """Put features of the disturbed part, and the flags, in the place of the cached ones."""
    clips = [clip for clip, reason in zip(feed.clips, disturbed.left_alone(feed.clips), strict=True) if not reason]
    device = next(encoders.text.parameters()).device
    media = MediaFeed(disturbed, clips, [-1] * len(clips), encoders.text.tokenize, device, 0)
    name = MODALITY[disturbed.part]
    with torch.autocast(device.type, torch.bfloat16, enabled=settings["precision"] == "bf16"):
        parts = [getattr(encode_media(encoders, batch), name) for batch in media.batches(settings["batch_size"])]
    encoded, values = dict(zip(clips, torch.cat(parts).cpu(), strict=True)), feed.features[name]
    for place, clip in enumerate(feed.clips):
        if clip in disturbed.changed:
            values[place] = encoded[clip]
    feed.missing = missing_mask(disturbed.flags(feed.clips))
