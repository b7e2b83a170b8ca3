"""From the cache to a checkpoint: one run trained to its last epoch."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from hcep.encoders.info import made_by
from hcep.errors import HcepError
from hcep.files import read_table, remake, sha256_file, write_table
from hcep.methods.method import Method
from hcep.progress import say
from hcep.training.checkpoint import read_checkpoint, save_checkpoint, versions
from hcep.training.kept import keep, take_over
from hcep.training.loop import Monitor, Trainer
from hcep.training.run import Inputs, Run
from hcep.training.startup import StartUp


class Trained(NamedTuple):
    """A run of another row with the same steps: its two files, and the settings in which the rows may differ."""

    model: Path
    history: Path
    scoring: Collection[str]

    def read(self, identity: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """State and metadata of its model, which must be of the data, seed and settings of `identity`."""
        state, found = read_checkpoint(self.model)
        wanted = json.loads(json.dumps(identity))
        for each in (found, wanted):
            each["settings"] = {key: each["settings"][key] for key in each["settings"] if key not in self.scoring}
        changed = [key for key in wanted if key not in ("method", "code", "trained") and found.get(key) != wanted[key]]
        if changed:
            cause = f"its training is not that of {wanted['method']}: other {', '.join(changed)}"
            raise HcepError(cause, file=self.model, remedy=remake(self.model))
        return state, found


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
    trained: Trained | None = None,
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
    trained : Trained, optional
        A run of another row whose steps are the same: its weights are taken, and what comes after the last step is
        done here.
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
        "trained": sha256_file(trained.model) if trained else None,
    }
    if reuse and take_over(model, history, current=lambda *kept: _is_current(kept[0], kept[1], identity)):
        say(f"{title}: was done before with this data, these settings and this code")
        return
    feed = run.feed(split.train)
    startup.done("reading")
    method = run.build(feed)
    folder = None if work is None else run.folder(work, "train", name, code)
    trainer = Trainer(method, feed, settings, seed, folder, _monitor(run, judge), title)
    made_with: dict[str, Any] = {"versions": versions(), "device": str(run.device)}
    if trained is None:
        rows = trainer.run(lambda: startup.say("building and encoding what is constant"))
        table = [{key: f"{value:.8g}" for key, value in row.items()} for row in rows]
        made_with["epoch"] = trainer.best["epoch"] if trainer.best else len(rows)
    else:
        state, other = trained.read(identity)
        trainer.finish(state)
        table = read_table(trained.history)
        made_with |= {name: other[name] for name in ("epoch", "versions", "device")} | {"trained_as": other["method"]}
    write_table(history, list(dict.fromkeys(key for row in table for key in row)), table)
    save_checkpoint(model, method.state_dict(), identity | made_with)
    if reuse:
        keep(model, history)
    run.forget()
    if table:
        source = f"as {made_with['trained_as']}, " if trained else ""
        say(f"{title}: {source}{len(table)} epochs, loss {float(table[-1]['loss']):.4f}")


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
