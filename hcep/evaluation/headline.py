"""The abstract's two relative gains over the baseline, by both of their definitions.

The paper prints 16.79 % (AUROC) and 28.49 % (OSCR): its method's mean over the five tasks divided by the baseline's.
The mean of the five relative gains is the other reading: 16.70 % and 29.29 % from the paper's own tables.
"""

from __future__ import annotations

from collections.abc import Sequence

from hcep.config.tables import Headline
from hcep.evaluation.table_inputs import NOT_RUN, TableInputs, marks
from hcep.evaluation.versus_paper import MEAN, Row, difference, number, of_task

METRICS = ("auroc", "oscr")
COLUMN = "gain (%)"
RATIO_OF_MEANS = "all tasks: ratio of the means"
MEAN_OF_RATIOS = "all tasks: mean of the ratios"

# for every task, the number of the method and that of the baseline
Pairs = Sequence[tuple[float, float]]


def relative_gains(pairs: Pairs) -> tuple[float, float]:
    """Gain of the first over the second numbers, in percent: by the ratio of the means, by the mean of the ratios."""
    ratio_of_means = sum(first for first, _ in pairs) / sum(second for _, second in pairs)
    mean_of_ratios = sum(first / second for first, second in pairs) / len(pairs)
    return 100 * (ratio_of_means - 1), 100 * (mean_of_ratios - 1)


def paper_pairs(inputs: TableInputs, tasks: Sequence[str], methods: Sequence[str], metric: str) -> Pairs:
    """The paper's numbers of the tasks that it prints: the mean over a task's levels, or its one level."""
    pairs = []
    for task in tasks:
        printed = of_task(inputs.printed, task)
        found = []
        for method in methods:
            levels = {key[1]: value for key, value in printed.items() if (key[0], key[2]) == (method, metric)}
            found += [levels[MEAN]] if MEAN in levels else list(levels.values())
        if len(found) == 2:
            pairs.append((found[0], found[1]))
    return pairs


def headline_cells(table: Headline, inputs: TableInputs) -> list[Row]:
    """Cells of the headline table: a row per task, then one per definition; no interval, which would need the runs.

    Raises
    ------
    HcepError
        A summary holds no number where it should.
    """
    rows = [(task, [task], 0) for task in table.tasks()]
    rows += [(RATIO_OF_MEANS, table.tasks(), 0), (MEAN_OF_RATIOS, table.tasks(), 1)]
    return [_cell(*row, table.methods(), metric, inputs) for row in rows for metric in METRICS]


def _cell(name: str, tasks: list[str], definition: int, methods: list[str], metric: str, inputs: TableInputs) -> Row:
    found = {(task, method): inputs.ours.get((inputs.task(task), method, MEAN)) for task in tasks for method in methods}
    rows = [row for row in found.values() if row is not None]
    cell = {"row": name, "column": COLUMN, "method": methods[0], "openness": MEAN, **marks(rows), "note": ""}
    cell |= {"task": ";".join(map(inputs.task, tasks)), "paper_task": ";".join(tasks)}
    cell["metric"] = f"relative_gain_{metric}"
    printed = paper_pairs(inputs, tasks, methods, metric)
    paper = relative_gains(printed)[definition] if len(printed) == len(tasks) else None
    cell["paper"] = "" if paper is None else f"{paper:.2f}"
    missing = list(dict.fromkeys(task for (task, _), row in found.items() if row is None))
    if missing:
        return cell | {"status": NOT_RUN + (f": {', '.join(missing)}" if len(tasks) > 1 else "")}
    values = [number(row, metric) for row in rows]
    gain = relative_gains(list(zip(values[::2], values[1::2], strict=True)))[definition]
    cell["ours"] = f"{gain:.2f}"
    if paper is not None:
        reasons = [inputs.other_levels(task, method) for task, method in found]
        cell["status"] = next((reason for reason in reasons if reason), "")
        cell["difference"] = "" if cell["status"] else difference(gain, paper)
    return cell
