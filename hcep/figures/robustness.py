"""AUROC and OSCR of every method on disturbed test clips, a row of panels per kind of disturbance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes

from hcep.figures.run_files import number, one_table, read_rows, splits_of
from hcep.figures.style import GREY, Drawing, describe, finish, method_panels, method_style, note_figure

METRICS = (("auroc", "AUROC (%)"), ("oscr", "OSCR (%)"))
MEAN = "mean"
CLEAN = "clean"
# kind of disturbance -> what stands above its panels
KINDS = {
    "white_noise_db": "White noise, signal-to-noise ratio in dB",
    "babble_db": "Voices behind the sound, ratio in dB",
    "dropped_frames": "Share of frames dropped",
    "blur": "Blur, sigma over the frame's side",
    "shift_ms": "Sound late by milliseconds",
    "word_errors": "Word error rate",
    "missing": "Modality missing",
}
TITLE = "Disturbed test clips, mean over openness levels"

# level of disturbance -> method -> its cells
Levels = Mapping[str, Mapping[str, Mapping[str, float]]]


def robustness_figure(table: Sequence[str | Path], task: str = "") -> Drawing:
    """AUROC at the left, OSCR at the right, from the clips as they are to the strongest level; a line per method.

    A whisker is the interval. Kinds that no method could be tested with are left out. One file is drawn:
    ``robustness.csv`` of a task, in percent.

    Raises
    ------
    HcepError
        The table is missing, empty, lacks a column, or holds a cell that is not a number.
    """
    file = one_table(table, "robustness.csv")
    names = [f"{metric}{part}" for metric, _ in METRICS for part in ("", "_lo", "_hi")]
    read = read_rows(file, ["method", "openness", "kind", "level", "splits", "stand_in", "note", *names])
    rows = [(line, row) for line, row in read if row["openness"] == MEAN]
    found: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for line, row in rows:
        # a disturbance that was not applied has no cells
        if row["auroc"]:
            cells = {name: number(row, name, file, line) for name in names}
            found.setdefault(row["kind"], {}).setdefault(row["level"], {})[row["method"]] = cells
    clean = found.pop(CLEAN, {})
    if not found:
        return note_figure("No disturbance could be applied: see robustness.csv", TITLE, task)
    methods = list(dict.fromkeys(row["method"] for _, row in rows))
    figure, axes = method_panels(
        [KINDS.get(kind, kind) for kind in found], [label for _, label in METRICS], sharey="col"
    )
    for line_of_axes, (kind, levels) in zip(axes, found.items(), strict=True):
        shown = {CLEAN: clean.get("", {}), **levels}
        for ax, (metric, _) in zip(line_of_axes, METRICS, strict=True):
            # modalities have no order that a line could follow
            _draw(ax, metric, shown, methods, joined=kind != "missing")
    for ax in axes[:, 0]:
        ax.axhline(50, color=GREY, linestyle=":", label="chance (AUROC)")
    # the entries of the legend are those of the first panel, whose marks are joined
    handles = dict(zip(*axes[0, 0].get_legend_handles_labels()[::-1], strict=True))
    stand_in = any(row["stand_in"] == "true" for _, row in rows)
    finish(figure, describe(TITLE, task, splits_of(rows)), stand_in=stand_in, handles=handles)
    columns = ["method", "kind", "level", *names, "note"]
    return figure, [{name: row[name] for name in columns} for _, row in rows]


def _draw(ax: Axes, metric: str, levels: Levels, methods: Sequence[str], *, joined: bool) -> None:
    # methods stand beside each other at every level, so that no whisker hides another
    apart = min(0.7 / len(methods), 0.12)
    for place, method in enumerate(methods):
        shift = (place - (len(methods) - 1) / 2) * apart
        own = {x + shift: level[method] for x, level in enumerate(levels.values()) if method in level}
        style = method_style(method) | {"linewidth": 0.6, "markersize": 2.2}
        for x, cell in own.items():
            ax.vlines(x, cell[f"{metric}_lo"], cell[f"{metric}_hi"], color=style["color"], linewidth=0.5)
        line = {} if joined else {"linestyle": ""}
        ax.plot(list(own), [cell[metric] for cell in own.values()], **style | line, label=method.lstrip("_"))
    ax.set_xticks(range(len(levels)), list(levels))
    ax.set_xlim(-0.5, len(levels) - 0.5)
    ax.grid(axis="x", visible=False)
