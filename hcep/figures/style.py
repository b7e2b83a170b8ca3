"""One style for every figure: colour-blind safe, readable in print, and the same bytes on every run."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import offset_copy

from hcep.errors import HcepError
from hcep.files import atomic_path

# Okabe and Ito, "Color Universal Design" (2008), without the yellow, which is too light for lines on white
PALETTE: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DASHES: Final = ("-", (0, (5, 1.6)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
HATCHES: Final = ("", "///", "...", "xxx")
KNOWN: Final = PALETTE[0]
UNKNOWN: Final = PALETTE[1]
GREY: Final = "#767676"

_STYLE: Final[Mapping[Any, Any]] = MappingProxyType(
    {
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
)
# height of one line of a legend, inches
LEGEND_LINE: Final = 0.175

# these fields would tell when and with what a file was made, but two runs must give the same bytes
_NO_METADATA: Final[Mapping[str, Mapping[str, None]]] = MappingProxyType(
    {
        ".svg": {"Date": None, "Creator": None},
        ".png": {"Software": None},
        ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }
)


@contextmanager
def figure_style() -> Iterator[None]:
    """Draw and save inside this style, whatever the user's own matplotlib settings; they are put back afterwards."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(dict(_STYLE))
        yield


def save_figure(figure: Figure, output: str | Path) -> None:
    """Write a figure; the file is whole or absent, and the same bytes for the same content.

    Parameters
    ----------
    figure : Figure
        Drawn inside `figure_style`; call this inside it too.
    output : path
        Ends in ``.svg``, ``.png`` or ``.pdf``.

    Raises
    ------
    HcepError
        If the name ends otherwise.
    """
    output = Path(output)
    if output.suffix not in _NO_METADATA:
        raise HcepError(
            f"cannot draw a {output.suffix or 'file without ending'}", file=output, remedy="name it .svg, .png or .pdf"
        )
    with atomic_path(output) as temporary:
        figure.savefig(temporary, metadata=dict(_NO_METADATA[output.suffix]))


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
        A function of `hcep.registry.FIGURES`: sources and title give the figure.
    sources : sequence of path
        Run folders, or a table, as the function says.
    output : path
        Picture to write (.svg, .png or .pdf).
    title : str
        Above the figure, e.g. the task.

    Raises
    ------
    HcepError
        A source is missing or unusable, or the output has another ending.
    """
    with figure_style():
        save_figure(figure_of(sources, title), output)


def series_styles(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Line colour and dashes for each name, by position; the dashes change when the colours start over."""
    return {
        name: {
            "color": PALETTE[place % len(PALETTE)],
            "linestyle": DASHES[place // len(PALETTE) % len(DASHES)],
        }
        for place, name in enumerate(names)
    }


def panels(rows: int, columns: int, *, width: float = 2.9, height: float = 2.6, **shared: Any) -> tuple[Figure, Any]:
    """Figure and (rows, columns) array of axes for small multiples, each about `width` x `height` inches.

    A `Figure` made without pyplot needs no display and leaves no global state behind.
    """
    figure = Figure(figsize=(max(width * columns, 4.2), height * rows + 1.0), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **shared)


def finish(figure: Figure, title: str, *, stand_in: bool = False) -> None:
    """Title, and the warning without which numbers of stand-in encoders could be taken for results."""
    note = "stand-in encoders or composite data: not comparable with published results" if stand_in else ""
    width = int(13 * figure.get_figwidth())
    text = "\n".join(textwrap.fill(line, width) for line in (title, note) if line)
    if text:
        figure.suptitle(text, fontsize=10)


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
