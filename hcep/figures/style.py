"""One style for every figure: colour-blind safe, readable in print, and the same bytes on every run."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import offset_copy
from numpy.typing import ArrayLike, NDArray

from hcep.errors import HcepError
from hcep.files import atomic_path

Floats = NDArray[np.float64]

# Okabe and Ito, "Color Universal Design" (2008), without the yellow, which is too light for lines on white
PALETTE: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DASHES: Final = ("-", (0, (5, 1.6)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
HATCHES: Final = ("", "///", "...", "xxx")
KNOWN: Final = PALETTE[0]
UNKNOWN: Final = PALETTE[1]
GREY: Final = "#767676"

_STYLE: Final[dict[Any, Any]] = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#4d4d4d",
    "axes.grid": True,
    "axes.labelsize": 9,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "figure.dpi": 100,
    "figure.titlesize": 12,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.6,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "savefig.dpi": 150,
    # letters are drawn as outlines, so that the picture looks the same wherever it is opened
    "svg.fonttype": "path",
    # without this, matplotlib gives clip paths random names
    "svg.hashsalt": "hcep",
    # a class or method name with a dollar sign is not a formula
    "text.parse_math": False,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}
# height of one line of a legend, inches
LEGEND_LINE: Final = 0.175

# these fields would tell when and with what a file was made, but two runs must give the same bytes
_NO_METADATA: Final[dict[str, Any]] = {
    ".svg": {"Date": None, "Creator": None},
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


@contextmanager
def figure_style() -> Iterator[None]:
    """Draw and save inside this style, whatever the user's own matplotlib settings; they are put back afterwards."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def draw_figure(
    figure_of: Callable[[Sequence[str | Path], str], Figure],
    sources: Sequence[str | Path],
    output: str | Path,
    *,
    title: str = "",
) -> None:
    """Make one figure in the style of all and write it.

    Parameters
    ----------
    figure_of : callable
        A function of `hcep.registry.FIGURES`: sources and title (above the figure, e.g. the task) give the figure.
    sources : sequence of path
        Run folders, or a table, as the function says.
    output : path
        Picture to write (.svg, .png or .pdf), whole or absent, and the same bytes for the same content.

    Raises
    ------
    HcepError
        A source is missing or unusable, or the output has another ending.
    """
    output = Path(output)
    if output.suffix not in _NO_METADATA:
        cause = f"cannot draw a {output.suffix or 'file without ending'}"
        raise HcepError(cause, file=output, remedy="name it .svg, .png or .pdf")
    with figure_style(), atomic_path(output) as temporary:
        figure_of(sources, title).savefig(temporary, metadata=_NO_METADATA[output.suffix])


def series_styles(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Line colour and dashes for each name, by position; the dashes change when the colours start over."""
    styles = [{"color": color, "linestyle": dashes} for dashes in DASHES for color in PALETTE]
    return dict(zip(names, itertools.cycle(styles), strict=False))


def panels(
    rows: int, columns: int, *, width: float = 2.9, height: float = 2.6, legend_lines: int = 0, **shared: Any
) -> tuple[Figure, Any]:
    """Figure and (rows, columns) array of axes, each about `width` x `height` inches, and a legend below each.

    A `Figure` made without pyplot needs no display and leaves no global state behind.
    """
    height += legend_lines * LEGEND_LINE
    figure = Figure(figsize=(max(width * columns, 4.2), height * rows + 1.0), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **shared)


def finish(figure: Figure, title: str, *, stand_in: bool = False) -> None:
    """Title, and the warning without which numbers of stand-in encoders could be taken for results."""
    note = "stand-in encoders or composite data: not comparable with published results" if stand_in else ""
    width = int(13 * figure.get_figwidth())
    text = "\n".join(textwrap.fill(line, width) for line in (title, note) if line)
    if text:
        figure.suptitle(text, fontsize=10)


def label_panels(axes: Any, titles: Sequence[str], rows: Sequence[str]) -> None:
    """Titles above the first row of panels, and a y label left of every row."""
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title)
    for ax, label in zip(axes[:, 0], rows, strict=True):
        ax.set_ylabel(label)


def draw_spread(axes: Axes, x: Floats, runs: ArrayLike, *, label: str, alpha: float = 0.15, **style: Any) -> None:
    """A line for the mean of several runs, (runs, n), and a band from the smallest to the largest; NaN is left out."""
    values = np.asarray(runs)
    axes.plot(x, np.nanmean(values, axis=0), label=label, marker="o" if len(x) == 1 else None, **style)
    if len(values) > 1:
        low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
        axes.fill_between(x, low, high, color=style["color"], alpha=alpha, linewidth=0)


def draw_paper(axes: Axes, printed: Sequence[tuple[float, float]], size: float) -> None:
    """The paper's values (x, y) as diamonds; choose x beside our own marks, which a diamond would hide."""
    style: dict[str, Any] = {"color": "white", "markeredgecolor": "black", "markersize": size, "linestyle": ""}
    if printed:
        axes.plot(*zip(*printed, strict=True), marker="D", label="paper's value", **style)


def draw_whisker(axes: Axes, x: float, low: float, high: float) -> None:
    """An interval on a bar: dark with a white rim, so that it is seen on bars of every colour."""
    for color, width in (("white", 2.6), ("#222222", 1.1)):
        axes.vlines(x, low, high, color=color, linewidth=width)


def draw_text(axes: Axes, text: str, **style: Any) -> None:
    """A text in the middle of a panel that has nothing to show."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", **style)


def legend_below(axes: Axes, *, columns: int = 1, title: str | None = None) -> None:
    """Legend under the axes, where it hides no data."""
    axes.legend(
        loc="upper center",
        # a fixed distance below the axes: tick labels and axis label need the same room however high the axes are
        bbox_to_anchor=(0.5, 0),
        bbox_transform=offset_copy(axes.transAxes, fig=axes.get_figure(root=True), y=-0.42, units="inches"),
        ncols=columns,
        handlelength=1.8,
        columnspacing=1.2,
        title=title,
        title_fontsize=8,
    )
