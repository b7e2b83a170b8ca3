"""From the cache to a checkpoint: one run trained to its last epoch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hcep.encoders.info import made_by
from hcep.errors import HcepError
from hcep.files import read_table, write_table
from hcep.methods.method import Method
from hcep.progress import say
from hcep.training.checkpoint import read_checkpoint, save_checkpoint, versions
from hcep.training.kept import keep, take_over
from hcep.training.loop import Monitor, Trainer
from hcep.training.run import Inputs, Run
from hcep.training.startup import StartUp

Judge = Callable[[np.ndarray, np.ndarray, np.ndarray, int], dict[str, float]]


def train(
    inputs: Inputs,
    method_class: type[Method],
    settings: dict[str, Any],
    *,
    tuned: Sequence[Mapping[str, Any]] = (),
    name: str,
    seed: int,
    code: str,
    model: Path,
    history: Path,
    work: Path | None,
    judge: Judge | None = None,
    reuse: bool = False,
) -> None:
    """Train one run and write its checkpoint and history.

    Parameters
    ----------
    tuned : sequence of mapping
        Contents of ``tuned.json``, whose ``chosen`` settings go over `settings`; recorded in the checkpoint.
    name : str
        The method's name in the results.
    code : str
        Digest of the code that this run executes; with settings and data it names the resume state.
    model, history : path
        ``model.safetensors`` and ``history.csv``.
    work : path or None
        Parent folder of resume states; this run's own is removed when it is done. None: a run of seconds, which keeps
        none.
    judge : callable, optional
        For ``selection: best_on_test`` only: score, label (-1 = unknown), prediction of the test clips and K to
        numbers for the history, among them ``selected``.
    reuse : bool
        Whether to take over what an earlier job made of this data, these settings and this code.

    Raises
    ------
    HcepError
        On non-finite losses (the last good state stays in `work`) and on inputs that do not fit each other.
    """
    startup = StartUp(f"train {name} seed{seed}")
    startup.done("imports and encoders")
    for choice in tuned:
        settings = settings | choice["chosen"]
    run = Run(inputs, method_class, settings, seed)
    split = run.split
    if not split.train:
        raise HcepError("the split has no training clip", file=inputs.split)
    title = f"train {name} {split.openness} {split.split} seed{seed}"
    identity = {
        "method": name,
        "classes": list(split.known),
        **{key: getattr(split, key) for key in ("task", "openness", "split")},
        "seed": seed,
        "settings": settings,
        "encoder": {key: inputs.encoder[key] for key in ("name", "stand_in")} | {"sha256": made_by(inputs.encoder)},
        "tuned": list(tuned),
        "made_of": run.made_of(),
        "code": code,
    }
    if reuse and take_over(model, history, current=lambda *kept: _is_current(kept[0], kept[1], identity)):
        say(f"{title}: was done before with this data, these settings and this code")
        return
    feed = run.feed(split.train)
    startup.done("reading")
    method = run.build(feed)
    folder = None if work is None else run.folder(work, "train", name, code)
    trainer = Trainer(method, feed, settings, seed, folder, _monitor(run, judge), title)
    rows = trainer.run(lambda: startup.say("building and encoding what is constant"))
    made_with = {"versions": versions(), "device": str(run.device)}
    epoch = trainer.best["epoch"] if trainer.best else len(rows)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    write_table(history, columns, [{key: f"{value:.8g}" for key, value in row.items()} for row in rows])
    save_checkpoint(model, method.state_dict(), identity | made_with | {"epoch": epoch})
    if reuse:
        keep(model, history)
    run.forget()
    if rows:
        say(f"{title}: {len(rows)} epochs, loss {rows[-1]['loss']:.4f}")


def _is_current(model: Path, history: Path, identity: Mapping[str, Any]) -> bool:
    read_table(history)
    found = read_checkpoint(model)[1]
    # through JSON, as the file: a tuple comes back as a list
    return json.loads(json.dumps(identity)) == {key: found.get(key) for key in identity}


def _monitor(run: Run, judge: Judge | None) -> Monitor | None:
    """What to look at after each epoch: nothing, held-out known clips, or (marked in every table) the test clips."""
    selection, split = run.settings["selection"], run.split
    if selection == "best_on_test":
        if judge is None:
            raise ValueError("best_on_test needs a judge")
        tested = run.feed([*split.test_known, *split.test_unknown])

        def judged(method: Method) -> dict[str, float]:
            found = run.predict(method, tested)
            prediction = found.logits.argmax(1).numpy()
            return judge(found.score.numpy(), tested.labels.numpy(), prediction, len(split.known))

        return judged
    if not split.val:
        if selection == "val_known":
            cause, remedy = "selection: val_known needs held-out clips", "set the task's val_fraction"
            raise HcepError(cause, file=run.inputs.split, remedy=remedy)
        return None
    held_out = run.feed(split.val)

    def look(method: Method) -> dict[str, float]:
        accuracy = run.accuracy(method, held_out)
        return {"val_accuracy": accuracy} | ({"selected": accuracy} if selection == "val_known" else {})

    return look
