"""The paper's tables with our numbers, the paper's and the difference in every cell: long CSV, and Markdown to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hcep.errors import HcepError
from hcep.evaluation.headline import headline_cells
from hcep.evaluation.table_inputs import MEAN, TableInputs, difference, marks, number, read_table_inputs
from hcep.files import write_table, write_text
from hcep.protocol.openness import parse_openness

COLUMNS = (
    *("table", "section", "row", "column", "method", "task", "paper_task", "openness", "metric"),
    *("ours", "lo", "hi", "paper", "difference", "status"),
    *("stand_in", "text_kind", "selection", "left_out", "note"),
)
AREAS = {"auroc": "AUROC", "oscr": "OSCR"}
NOT_MEASURED = "not measured"
DASH = "–"
KEYS = {"caption", "columns", "rows", "metrics", "costs", "stacked", "source"}
ROW_KEYS = {"name", "method", "section", "source", "paper"}
HEADLINE_KEYS = {"caption", "method", "baseline", "tasks"}


def write_paper_table(
    name: str,
    definition: Mapping[str, Any],
    summaries: Sequence[str | Path],
    paper: str | Path,
    output_csv: str | Path,
    output_md: str | Path,
    *,
    complexity: str | Path | None = None,
    stand_in_for: Mapping[str, str] | None = None,
    absent: Mapping[str, str] | None = None,
) -> None:
    """Write one of the paper's tables in its own layout.

    Parameters
    ----------
    name : str
        Name of the table; also the `source` of its numbers in the paper's file.
    definition : mapping
        ``caption``; ``columns``, a mapping of printed heading to ``task/openness`` (or ``task/mean``); ``rows``, each
        with ``name`` as printed and ``method``, and if need be ``section``, ``paper`` (the method in the paper's file)
        and ``source``. Further ``metrics`` (name to printed heading; AUROC and OSCR by default), ``costs`` (metric to
        column of the complexity table), ``stacked`` (levels below each other, as in Table 8) and ``source``.
        With ``baseline``, ``method`` and ``tasks`` instead: the abstract's relative gains.
    summaries : sequence of path
        ``summary.csv`` of every task that has one.
    paper : path
        The paper's printed results.
    output_csv : path
        One row a cell. `status` says why a number or a difference is missing.
    output_md : path
        The table to read: ours [interval] / the paper's / difference.
    complexity : path, optional
        ``complexity.csv``, for the metrics in `costs`.
    stand_in_for : mapping, optional
        Task of the table to the task whose results are shown in its place; the caption says so.
    absent : mapping, optional
        Method to the reason why it has no run, shown instead of ``not run``.

    Raises
    ------
    HcepError
        The definition or a file is malformed.
    """
    inputs = read_table_inputs(
        summaries, paper, complexity=complexity, stand_in_for=stand_in_for or {}, absent=absent or {}
    )
    if "baseline" in definition:
        _check_keys(name, definition, HEADLINE_KEYS, HEADLINE_KEYS)
        cells = headline_cells(definition, inputs)
        metrics = {f"relative_gain_{metric}": f"{title} gain (%)" for metric, title in AREAS.items()}
    else:
        _check_definition(name, definition)
        cells = _cells(name, definition, inputs)
        metrics = dict(definition.get("metrics", AREAS))
    write_table(output_csv, COLUMNS, [{"table": name, **cell} for cell in cells])
    write_text(output_md, _markdown(definition, metrics, cells, inputs))


def _check_keys(name: str, found: Mapping[str, Any], known: set[str], needed: set[str]) -> None:
    for key in [*sorted(set(found) - known), *sorted(needed - set(found))]:
        what = "is missing" if key in needed else "is not known"
        raise HcepError(f"{key} {what}", row=f"table {name}", remedy=f"known: {', '.join(sorted(known))}")


def _check_definition(name: str, definition: Mapping[str, Any]) -> None:
    _check_keys(name, definition, KEYS, {"caption", "columns", "rows"})
    if not isinstance(definition["columns"], Mapping) or not all(
        isinstance(row, Mapping) for row in definition["rows"]
    ):
        raise HcepError("columns must be a mapping, rows a list of mappings", row=f"table {name}")
    for heading, place in definition["columns"].items():
        task, slash, openness = str(place).partition("/")
        if not (task and slash and openness):
            raise HcepError(
                f"column {heading!r} is {place!r}", row=f"table {name}", remedy="write task/openness, as mafw/k8u2"
            )
        if openness != MEAN:
            parse_openness(openness)
    seen = set()
    for row in definition["rows"]:
        _check_keys(name, row, ROW_KEYS, {"name", "method"})
        key = (row.get("section", ""), row["name"])
        if key in seen:
            raise HcepError(f"row {row['name']!r} is listed twice", row=f"table {name}", remedy="name rows apart")
        seen.add(key)


def _cells(name: str, definition: Mapping[str, Any], inputs: TableInputs) -> list[dict[str, str]]:
    source, costs = definition.get("source", name), definition.get("costs", {})
    cells = []
    for row in definition["rows"]:
        for heading, place in definition["columns"].items():
            paper_task, _, openness = place.partition("/")
            task, method = inputs.task(paper_task), row["method"]
            ours = inputs.ours.get((task, method, openness))
            shared = {"section": row.get("section", ""), "row": row["name"], "column": heading, "method": method}
            shared |= {"task": task, "paper_task": paper_task, "openness": openness, **marks([ours] if ours else [])}
            for metric in definition.get("metrics", AREAS):
                key = (row.get("source", source), paper_task, row.get("paper", method), openness, metric)
                printed = inputs.printed.get(key)
                cell = shared | {"metric": metric, "paper": "" if printed is None else f"{printed:.2f}"}
                if metric in costs:
                    cell |= _cost(inputs, method, openness, costs[metric])
                    cell["note"] = "; ".join(part for part in (shared["note"], cell["note"]) if part)
                elif ours is None:
                    cell["status"] = inputs.reason(method)
                else:
                    number(ours, metric)
                    cell |= {
                        "ours": ours[metric],
                        "lo": ours.get(f"{metric}_lo", ""),
                        "hi": ours.get(f"{metric}_hi", ""),
                    }
                    if openness == MEAN and printed is not None:
                        cell["status"] = inputs.other_levels(paper_task, method)
                if printed is not None and cell.get("ours") and not cell.get("status"):
                    cell["difference"] = difference(float(cell["ours"]), printed)
                cells.append(cell)
    return cells


def _cost(inputs: TableInputs, method: str, openness: str, column: str) -> dict[str, str]:
    """A cell of the complexity table; it counts by the number of known classes and has no interval."""
    row = inputs.costs.get((method, parse_openness(openness)[0]))
    if row is None:
        return {"status": inputs.reason(method), "note": ""}
    if not row.get(column):
        return {"status": NOT_MEASURED, "note": ""}
    return {"ours": f"{number(row, column):.2f}", "note": row.get("note", "") if column == "learnable_m" else ""}


def _markdown(
    definition: Mapping[str, Any], metrics: Mapping[str, str], cells: Sequence[dict[str, str]], inputs: TableInputs
) -> str:
    lines = [f"**{_escape(definition['caption'])}** {_escape(' '.join(_facts(cells, inputs)))}", ""]
    first = "Task" if "baseline" in definition else "Method"
    head, body = _layout(first, bool(definition.get("stacked")), metrics, cells)
    lines += [f"| {' | '.join(map(_escape, head))} |", "|" + " --- |" * len(head)]
    lines += [f"| {' | '.join(map(_escape, row))} |" for row in body]
    notes = _notes(cells)
    return "\n".join([*lines, *([""] if notes else []), *(f"- {_escape(note)}" for note in notes)]) + "\n"


def _layout(
    first: str, stacked: bool, metrics: Mapping[str, str], cells: Sequence[dict[str, str]]
) -> tuple[list[str], list[list[str]]]:
    """Heading and rows: a metric's levels side by side (Tables 2, 3), or a task's metrics (Table 4)."""
    by_place = {(cell["column"], cell.get("section", ""), cell["row"], cell["metric"]): cell for cell in cells}
    columns = list(dict.fromkeys(cell["column"] for cell in cells))
    rows = list(dict.fromkeys((cell.get("section", ""), cell["row"]) for cell in cells))
    if stacked:
        head = ["Openness", "Type", first, *metrics.values()]
        return head, [
            [column, *row, *(_text(by_place[column, *row, metric]) for metric in metrics)]
            for column in columns
            for row in rows
        ]
    if len({cell["paper_task"] for cell in cells}) > 1:
        places = [(column, metric) for column in columns for metric in metrics]
    else:
        places = [(column, metric) for metric in metrics for column in columns]
    # with one column, the metric alone is heading enough
    titles = [f"{metrics[metric]} {column}" if len(columns) > 1 else metrics[metric] for column, metric in places]
    body = [[*row, *(_text(by_place[column, *row, metric]) for column, metric in places)] for row in rows]
    if any(section for section, _ in rows):
        return ["Type", first, *titles], body
    return [first, *titles], [row[1:] for row in body]


def _text(cell: dict[str, str]) -> str:
    ours = cell.get("ours") or cell.get("status", "")
    interval = f" [{cell['lo']}, {cell['hi']}]" if cell.get("lo") else ""
    gap = f"{float(cell['difference']):+.2f}" if cell.get("difference") else DASH
    return f"{ours}{interval} / {cell.get('paper') or DASH} / {gap}"


def _facts(cells: Sequence[dict[str, str]], inputs: TableInputs) -> list[str]:
    """What stands in the caption: what the cells are, and every reason not to compare them with the paper."""
    facts = ["Each cell: ours [interval] / the paper's number / the difference; percent unless the heading says more."]
    tasks = {task for cell in cells for task in cell["paper_task"].split(";")}
    facts += [f"Task {own} stands in for {name}." for name, own in inputs.stand_in_for.items() if name in tasks]
    # a cell over several tasks is marked when one of them is a stand-in; which one, the cells of the single tasks tell
    stand_ins = dict.fromkeys(cell["task"] for cell in cells if cell["stand_in"] == "true" and ";" not in cell["task"])
    if stand_ins:
        facts.append(
            f"Stand-in encoders or composite data ({', '.join(stand_ins)}): not comparable with published results."
        )
    words = list(dict.fromkeys(kind for cell in cells for kind in cell["text_kind"].split(";") if kind))
    if words:
        facts.append(f"Words: {', '.join(words)}.")
    if any("best_on_test" in cell["selection"] for cell in cells):
        names = dict.fromkeys(cell["row"] for cell in cells if "best_on_test" in cell["selection"])
        facts.append(f"Epoch selected on test clips: {', '.join(names)}.")
    return facts


def _notes(cells: Sequence[dict[str, str]]) -> list[str]:
    """Below the table: means over other levels, classes left out, how far prompts moved, how the paper counts."""
    notes = [f"{cell['column']}: {cell['status']}." for cell in cells if cell.get("ours") and cell.get("status")]
    for cell in cells:
        place = f"{cell['row']}, {cell['column']}"
        if cell["left_out"]:
            names = cell["left_out"].replace(";", ", ")
            notes.append(f"{place}: left out of the known classes, too few training clips: {names}.")
        facts = [part for part in cell["note"].split("; ") if part.startswith(("movement_", "the paper counts"))]
        if facts:
            notes.append(f"{place}: {', '.join(facts)}.")
    return list(dict.fromkeys(notes))


def _escape(text: str) -> str:
    for sign in ("\\", "|", "*", "_"):
        text = text.replace(sign, f"\\{sign}")
    return text
