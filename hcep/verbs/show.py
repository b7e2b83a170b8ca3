"""Verbs for people: results in the terminal, and what the configuration has."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from hcep import registry
from hcep.errors import HcepError, closest, shown
from hcep.verbs.options import config_files


def show(folder: Path | None, comparisons: bool, markdown: bool, latex: bool, metrics: Sequence[str] | None) -> None:
    """The summary of a task, or its paired comparisons, as a table."""
    from hcep.figures import summary_table as tables
    from hcep.figures.summary_text import latex_text, markdown_text, terminal_text

    if markdown and latex:
        raise HcepError("--markdown and --latex are given", remedy="choose one of them")
    file = _summary_of(folder)
    known = tables.COMPARED if comparisons else tuple(tables.METRICS)
    chosen = [registry.pick("metric", name, {one: one for one in known}) for name in dict.fromkeys(metrics or ())]
    usual = known if comparisons else ("auroc", "oscr") if latex else tables.SHOWN
    try:
        rows = tables.read_summary(file, chosen or usual)
        pairs = tables.read_comparisons(file.with_name("comparisons.csv")) if comparisons else []
    except HcepError as error:
        raise HcepError(error.cause, file=error.file, row=error.row, remedy=_again(file)) from error
    if comparisons and not pairs:
        cause = "no method is compared with another: none of the task's `references` is among its methods"
        raise HcepError(cause, file=file.with_name("comparisons.csv"), remedy="name one in the task's `references`")
    name = rows[0].get("task") or file.parent.name
    if comparisons:
        pairs = [row for row in pairs if row["metric"] in (chosen or usual)]
        # every level of every pair would not fit on a page
        level = "mean" if latex and len({row["openness"] for row in pairs}) > 1 else None
        title = f"{name}: paired comparisons{', mean over the openness levels' if level else ''}"
        table = tables.comparison_table(pairs, rows, level)
    else:
        title, table = f"{name}: summary", tables.summary_table(rows, chosen or usual)
    facts, table = tables.facts(rows), table._replace(notes=[*table.notes, *tables.remarks(rows)])
    if latex:
        text = latex_text(title, table, facts, label=f"tab:{name}{'-comparisons' if comparisons else ''}")
    else:
        text = (markdown_text if markdown else terminal_text)(title, table, facts)
    _print(text)


def _summary_of(folder: Path | None) -> Path:
    """The summary in a folder of results.

    Raises
    ------
    HcepError
        There is none; with the folder that was probably meant, or the command that makes it.
    """
    there = sorted(path.parent for path in Path("results").glob("*/summary.csv"))
    listed = f"here are {', '.join(map(str, there))}" if there else _again(Path("results/demo/summary.csv"))
    if folder is None:
        raise HcepError("no folder of results is given", remedy=f"name one, as `hcep show results/demo`; {listed}")
    file = folder if folder.suffix == ".csv" else folder / "summary.csv"
    if file.is_file():
        return file
    above = [parent for parent in folder.parents if (parent / "summary.csv").is_file()]
    inside = sorted(path.parent for path in folder.glob("*/summary.csv"))
    names = {path.name: path for path in [*folder.parent.glob("*"), *there] if (path / "summary.csv").is_file()}
    near = closest(folder.name, names)
    of_a_task = folder.parent.name == "results"
    remedies = [
        f"name one of {', '.join(map(str, inside))}" if inside else "",
        f"did you mean {above[0]}?" if above else f"did you mean {names[near]}?" if near else "",
        _again(file) if of_a_task else "",
    ]
    cause = "has no summary.csv" if folder.is_dir() else "there is no such folder"
    found = [remedy for remedy in remedies if remedy]
    raise HcepError(cause, file=folder, remedy=" or ".join(found) or f"name the folder of a task; {listed}")


def _again(file: Path) -> str:
    return f"make it: `snakemake --cores 2 {file}`, with the --configfile of the task if it has one"


def list_names(what: str | None, configfile: Sequence[Path]) -> None:
    """One line for each method, dataset, task or figure."""
    from hcep.figures.summary_text import list_text

    if what is None:
        raise HcepError("nothing to list is given", remedy=f"name one of {', '.join(LISTS)}, as `hcep list methods`")
    head, rows = registry.pick("list", what, LISTS)(configfile)
    _print(list_text(head, [[shown(cell) for cell in row] for row in rows]))


Found = tuple[list[str], list[list[str]]]


def _methods(config: Sequence[Path]) -> Found:
    from hcep.config.whole import read_config

    whole = read_config(config_files(config))
    rows = []
    for name, method in whole.methods.items():
        base = whole.base(name)
        changes = [f"{key} {_said(value)}" for key, value in method.changes().items()]
        changes += [f"encoder {method.encoder}"] if method.encoder else []
        changes += [f"{key} chosen from {_said(values)}" for key, values in method.tune.items()]
        said = _first_line(base).removesuffix(".")
        rows.append([name, method.base, base.inputs, f"{said}: {', '.join(changes)}" if changes else said])
    return ["method", "base", "trains on", "what it is: what it changes"], rows


def _datasets(config: Sequence[Path]) -> Found:
    from hcep.config.whole import read_config

    rows = [
        [
            name,
            one.adapter,
            "yes" if Path(one.root).is_dir() else "no",
            one.root,
            f"{one.frames} frames of {one.size} pixels, {one.samples / 16000:g} s of sound, words: {one.text}",
        ]
        for name, one in read_config(config_files(config)).datasets.items()
    ]
    return ["dataset", "adapter", "there", "root", "a clip"], rows


def _tasks(config: Sequence[Path]) -> Found:
    from hcep.config.whole import read_config

    whole = read_config(config_files(config))
    rows = []
    for name, task in whole.task_definitions.items():
        runs = len(task.methods) * len(task.openness) * len(task.splits) * len(task.seeds)
        text = f"{', '.join(task.openness)}: {len(task.methods)} methods, {runs} runs"
        text += " (plain `snakemake` makes them)" if name in whole.tasks else ""
        rows.append([name, ", ".join(task.dataset), task.encoder, text])
    return ["task", "dataset", "encoder", "openness: size"], rows


def _figures(config: Sequence[Path]) -> Found:
    rows = [[name, _first_line(registry.load(entry.target))] for name, entry in registry.FIGURES.items()]
    for name, target in registry.TABLE_FIGURES.items():
        rows.append([name, f"{_first_line(registry.load(target))} Its target is results/tables/{name}.svg."])
    return ["figure", "what results/TASK/figures/FIGURE.svg shows"], rows


def _first_line(described: object) -> str:
    return (described.__doc__ or "").strip().partition("\n")[0].replace("`", "")


def _print(text: str) -> None:
    """Print; a terminal that cannot show a sign, such as an arrow, gets a question mark in its place."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding), end="")


def _said(value: object) -> str:
    """A value as YAML would have it in one line."""
    return json.dumps(value).replace('"', "")


LISTS: dict[str, Callable[[Sequence[Path]], Found]] = {
    "methods": _methods,
    "datasets": _datasets,
    "tasks": _tasks,
    "figures": _figures,
}
