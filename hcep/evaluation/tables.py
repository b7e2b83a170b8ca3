"""The paper's tables with our numbers, the paper's and the difference in every cell: long CSV, and Markdown to read."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hcep.config.messages import explain
from hcep.config.tables import Headline, PaperTable
from hcep.evaluation.headline import METRICS, headline_cells
from hcep.evaluation.marks import shown_columns
from hcep.evaluation.table_inputs import NOT_RUN, TableInputs, marks, read_table_inputs
from hcep.evaluation.versus_paper import MEAN, Row, difference, number
from hcep.files import write_table, write_text
from hcep.protocol.openness import parse_openness

COLUMNS = (
    *("table", "section", "row", "column", "method", "task", "paper_task", "openness", "metric"),
    *("ours", "lo", "hi", "paper", "difference", "status"),
    *("stand_in", "text_kind", "selection", "left_out", "note"),
)
NOT_MEASURED = "not measured"
DASH = "–"


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
        A `PaperTable` or, with ``baseline``, a `Headline` (`hcep.config.tables`): the keys that were written.
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
    table = _read_definition(name, definition)
    inputs = read_table_inputs(summaries, paper, complexity=complexity, stand_in_for=stand_in_for, absent=absent)
    if isinstance(table, Headline):
        cells = headline_cells(table, inputs)
        metrics = {f"relative_gain_{metric}": f"{metric.upper()} gain (%)" for metric in METRICS}
    else:
        cells, metrics = _cells(name, table, inputs), table.metrics
    write_table(output_csv, shown_columns(COLUMNS, cells), [{"table": name, **cell} for cell in cells])
    write_text(output_md, _markdown(table, metrics, cells, inputs))


def _read_definition(name: str, definition: Mapping[str, Any]) -> PaperTable | Headline:
    model = Headline if "baseline" in definition else PaperTable
    try:
        table = model.model_validate(dict(definition))
    except ValidationError as error:
        raise explain(error.errors(), model, file="config", prefix=("tables", name)) from error
    for _, openness in table.places() if isinstance(table, PaperTable) else ():
        if openness != MEAN:
            parse_openness(openness)
    return table


def _cells(name: str, table: PaperTable, inputs: TableInputs) -> list[Row]:
    cells = []
    columns = zip(table.columns, table.places(), strict=True)
    for row, (heading, (paper_task, openness)) in itertools.product(table.rows, columns):
        task, method = inputs.task(paper_task), row.method
        ours = inputs.ours.get((task, method, openness))
        shared = {"section": row.section, "row": row.name, "column": heading, "method": method}
        shared |= {"task": task, "paper_task": paper_task, "openness": openness, **marks([ours] if ours else [])}
        source = row.source or table.source or name
        for metric in table.metrics:
            printed = inputs.printed.get((source, paper_task, row.paper or method, openness, metric))
            cell = shared | {"metric": metric, "paper": "" if printed is None else f"{printed:.2f}"}
            if metric in table.costs:
                cell |= _cost(inputs, method, openness, table.costs[metric])
                cell["note"] = "; ".join(part for part in (shared["note"], cell["note"]) if part)
            elif ours is None:
                cell["status"] = inputs.absent.get(method, NOT_RUN)
            else:
                number(ours, metric)
                cell |= {"ours": ours[metric]} | {part: ours.get(f"{metric}_{part}", "") for part in ("lo", "hi")}
                if openness == MEAN and printed is not None:
                    cell["status"] = inputs.other_levels(paper_task, method)
            if printed is not None and cell.get("ours") and not cell.get("status"):
                cell["difference"] = difference(float(cell["ours"]), printed)
            cells.append(cell)
    return cells


def _cost(inputs: TableInputs, method: str, openness: str, column: str) -> Row:
    """A cell of the complexity table; it counts by the number of known classes and has no interval."""
    row = inputs.costs.get((method, parse_openness(openness)[0]))
    if row is None:
        return {"status": inputs.absent.get(method, NOT_RUN), "note": ""}
    if not row.get(column):
        return {"status": NOT_MEASURED, "note": ""}
    return {"ours": f"{number(row, column):.2f}", "note": row.get("note", "") if column == "learnable_m" else ""}


def _markdown(
    table: PaperTable | Headline, metrics: Mapping[str, str], cells: Sequence[Row], inputs: TableInputs
) -> str:
    head, body = _layout(table, metrics, cells)
    lines = [f"**{_escape(table.caption)}** {_escape(' '.join(_facts(cells, inputs)))}", ""]
    lines += [_line(head), "|" + " --- |" * len(head), *map(_line, body)]
    notes = [f"- {_escape(note)}" for note in _notes(cells)]
    return "\n".join([*lines, *([""] if notes else []), *notes]) + "\n"


def _layout(
    table: PaperTable | Headline, metrics: Mapping[str, str], cells: Sequence[Row]
) -> tuple[list[str], list[list[str]]]:
    """Heading and rows: a metric's levels side by side (Tables 2, 3), or a task's metrics (Table 4)."""
    first = "Task" if isinstance(table, Headline) else "Method"
    by_place = {(cell["column"], cell.get("section", ""), cell["row"], cell["metric"]): cell for cell in cells}
    columns = list(dict.fromkeys(cell["column"] for cell in cells))
    rows = list(dict.fromkeys((cell.get("section", ""), cell["row"]) for cell in cells))
    if isinstance(table, PaperTable) and table.stacked:
        stacked = [(column, *row) for column in columns for row in rows]
        body = [[*place, *(_text(by_place[*place, metric]) for metric in metrics)] for place in stacked]
        return ["Openness", "Type", first, *metrics.values()], body
    if len({cell["paper_task"] for cell in cells}) > 1:
        places = list(itertools.product(columns, metrics))
    else:
        places = [(column, metric) for metric in metrics for column in columns]
    # with one column, the metric alone is heading enough
    titles = [f"{metrics[metric]} {column}" if len(columns) > 1 else metrics[metric] for column, metric in places]
    body = [[*row, *(_text(by_place[column, *row, metric]) for column, metric in places)] for row in rows]
    if any(section for section, _ in rows):
        return ["Type", first, *titles], body
    return [first, *titles], [row[1:] for row in body]


def _text(cell: Row) -> str:
    ours = cell.get("ours") or cell.get("status", "")
    interval = f" [{cell['lo']}, {cell['hi']}]" if cell.get("lo") else ""
    gap = f"{float(cell['difference']):+.2f}" if cell.get("difference") else DASH
    return f"{ours}{interval} / {cell.get('paper') or DASH} / {gap}"


def _facts(cells: Sequence[Row], inputs: TableInputs) -> list[str]:
    """What stands in the caption: what the cells are, and every reason not to compare them with the paper."""
    facts = ["Each cell: ours [interval] / the paper's number / the difference; percent unless the heading says more."]
    tasks = {task for cell in cells for task in cell["paper_task"].split(";")}
    facts += [f"Task {own} stands in for {name}." for name, own in inputs.stand_in_for.items() if name in tasks]
    # a cell over several tasks is marked when one of them is a stand-in; which one, the cells of the single tasks tell
    stand_ins = dict.fromkeys(cell["task"] for cell in cells if cell["stand_in"] == "true" and ";" not in cell["task"])
    if stand_ins:
        names = ", ".join(stand_ins)
        facts.append(f"Stand-in encoders or composite data ({names}): not comparable with published results.")
    words = dict.fromkeys(kind for cell in cells for kind in cell["text_kind"].split(";") if kind)
    if words:
        facts.append(f"Words: {', '.join(words)}.")
    read = [(layers, cell["row"]) for cell in cells for layers in re.findall("audio layers: [^;]+", cell["note"])]
    for layers in dict.fromkeys(layers for layers, _ in read):
        facts.append(f"{layers.capitalize()} ({', '.join(dict.fromkeys(row for own, row in read if own == layers))}).")
    faces = dict.fromkeys(source for cell in cells for source in cell.get("faces", "").split(";") if source)
    if faces:
        facts.append(f"Faces: {', '.join(faces)}.")
    lexicon = dict.fromkeys(cell["row"] for cell in cells if cell.get("lexicon"))
    if lexicon:
        facts.append(f"Score with words outside the known classes: {', '.join(lexicon)}.")
    on_test = dict.fromkeys(cell["row"] for cell in cells if "best_on_test" in cell["selection"])
    if on_test:
        facts.append(f"Epoch selected on test clips: {', '.join(on_test)}.")
    return facts


def _notes(cells: Sequence[Row]) -> list[str]:
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


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(_escape, cells))} |"


def _escape(text: str) -> str:
    return re.sub(r"[\\|*_]", r"\\\g<0>", text)
