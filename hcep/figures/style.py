"""One style for every figure: one printed column wide, readable without colour, the same bytes on every run."""

from __future__ import annotations

import hashlib
import io
import itertools
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from hcep.errors import HcepError
from hcep.files import write_bytes, write_table

Floats = NDArray[np.float64]
Rows = list[dict[str, Any]]
# a figure, and the rows of the CSV file beside it
Drawing = tuple[Figure, Rows]

# inches: one column of a journal, 85 mm
COLUMN: Final = 85 / 25.4
# points; nothing is smaller
SMALL: Final = 6.0
TITLE: Final = 7.0

# Okabe and Ito, "Color Universal Design" (2008), without the yellow, which is too light for lines on white
PALETTE: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
BLUE, VERMILION, GREEN, PURPLE, SKY, ORANGE, BLACK = PALETTE
DASHES: Final = ("-", (0, (5, 1.6)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
SOLID, DASHED, DOTTED, DASHDOT = DASHES
MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")
KNOWN: Final = BLUE
UNKNOWN: Final = VERMILION
GREY: Final = "#767676"

# a method's colour, dashes and marker in every figure of every task; names that are not here get theirs from a hash
METHODS: Final[dict[str, tuple[str, Any, str]]] = {
    "hcep": (BLUE, SOLID, "o"),
    "hcep_tuned": (BLUE, DASHED, "o"),
    "hcep_tokens": (BLUE, DOTTED, "o"),
    "hcep_distance": (BLUE, DASHDOT, "*"),
    "frozen_prompts": (SKY, DASHED, "s"),
    "frozen_prompts_tuned": (SKY, DOTTED, "s"),
    "frozen_prompts_distance": (SKY, DASHDOT, "P"),
    "frozen_tokens": (SKY, SOLID, "s"),
    "cosine_only": (SKY, SOLID, "X"),
    "arpl_mm": (VERMILION, SOLID, "^"),
    "arpl_mm_tuned": (VERMILION, DASHED, "^"),
    "arpl_imagebind": (VERMILION, DOTTED, "<"),
    "arpl_languagebind": (VERMILION, DASHDOT, ">"),
    "arpl": (VERMILION, DOTTED, "^"),
    "cpn_mm": (PURPLE, SOLID, "X"),
    "cpn_mm_tuned": (PURPLE, DASHED, "X"),
    "lpl_mm": (PURPLE, DASHDOT, "v"),
    "lpl_mm_tuned": (PURPLE, DOTTED, "v"),
    "linear_msp": (ORANGE, DASHED, "v"),
    "linear_msp_tuned": (ORANGE, DOTTED, "v"),
    "linear_maxlogit": (ORANGE, DASHDOT, "h"),
    "logistic_msp": (BLACK, SOLID, "p"),
    "distance_mm": (GREEN, SOLID, "D"),
    "distance_lexicon": (GREEN, DASHED, "<"),
    "distance_lexicon_outside": (GREEN, DOTTED, ">"),
    "cssr": (SKY, DOTTED, "h"),
    "cssr_mm": (SKY, DASHDOT, "h"),
    "hesp": (ORANGE, SOLID, "s"),
    "open_vclip": (BLACK, DASHED, "o"),
    "a2d_mix": (BLACK, DOTTED, "<"),
    "negprompt_mm": (BLACK, SOLID, "s"),
    "momke": (BLUE, DASHDOT, "P"),
}

_STYLE: Final[dict[Any, Any]] = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#4d4d4d",
    "axes.grid": True,
    "axes.labelpad": 2.0,
    "axes.labelsize": SMALL,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlepad": 3.0,
    "axes.titlesize": SMALL,
    "figure.constrained_layout.h_pad": 0.02,
    "figure.constrained_layout.w_pad": 0.02,
    "figure.dpi": 100,
    "figure.titlesize": TITLE,
    "font.family": "DejaVu Sans",
    "font.size": SMALL,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.5,
    "hatch.linewidth": 0.5,
    "legend.borderaxespad": 0.2,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "lines.linewidth": 1.0,
    "lines.markersize": 3.0,
    "pdf.fonttype": 42,
    "savefig.dpi": 300,
    # text stays text, which can be searched, copied and edited
    "svg.fonttype": "none",
    # without this, matplotlib gives clip paths random names
    "svg.hashsalt": "hcep",
    # a class or method name with a dollar sign is not a formula
    "text.parse_math": False,
    "xtick.labelsize": SMALL,
    "xtick.major.pad": 2.0,
    "xtick.major.size": 2.0,
    "xtick.major.width": 0.6,
    "ytick.labelsize": SMALL,
    "ytick.major.pad": 2.0,
    "ytick.major.size": 2.0,
    "ytick.major.width": 0.6,
}
# letters of a title in one line
LETTERS: Final = int(72 * COLUMN / (0.57 * TITLE))
# inches of a line of text
LINE: Final = 1.35 * SMALL / 72
# fonts as wide as the one that the layout was made with, for machines that lack it
_FONTS: Final = "'DejaVu Sans', Verdana, 'Bitstream Vera Sans', sans-serif"
# on a screen the picture opens at this multiple of its printed size
_ON_SCREEN: Final = 2

# these fields would tell when and with what a file was made, but two runs must give the same bytes
_NO_METADATA: Final[dict[str, Any]] = {
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    ".png": {"Software": None},
}


@contextmanager
def figure_style() -> Iterator[None]:
    """Draw and save inside this style, whatever the user's own matplotlib settings; they are put back afterwards."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def draw_figure(
    figure_of: Callable[[Sequence[str | Path], str], Drawing],
    sources: Sequence[str | Path],
    output: str | Path,
    *,
    title: str = "",
) -> None:
    """Make one figure in the style of all and write it as SVG, PDF and PNG (300 dpi), with its data as CSV.

    Parameters
    ----------
    figure_of : callable
        A function of `hcep.registry.FIGURES`: sources and the task, for the title, give the figure and its data.
    sources : sequence of path
        Run folders, or a table, as the function says.
    output : path
        The SVG file; the others have the same stem. Every file is whole or absent, and the same bytes for the same
        content. A figure whose data are the table of that name that it is drawn from leaves that table as it is.

    Raises
    ------
    HcepError
        A source is missing or unusable, or the output has another ending.
    """
    output = Path(output)
    if output.suffix != ".svg":
        cause = f"cannot draw a {output.suffix or 'file without ending'}"
        raise HcepError(cause, file=output, remedy="name it .svg; PDF, PNG and CSV are written beside it")
    with figure_style():
        figure, rows = figure_of(sources, title)
        data = output.with_suffix(".csv")
        if data not in map(Path, sources):
            columns = list(dict.fromkeys(name for row in rows for name in row))
            cells = [{name: _cell(value) for name, value in row.items()} for row in rows]
            write_table(data, columns, cells, seal=False)
        for ending in _NO_METADATA:
            save_figure(figure, output.with_suffix(ending))


def save_figure(figure: Figure, path: Path) -> None:
    """Write one file, SVG, PDF or PNG by its ending; call it inside `figure_style`."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format=path.suffix[1:], metadata=_NO_METADATA[path.suffix])
    content = drawn.getvalue()
    write_bytes(path, _for_screens(content.decode()).encode() if path.suffix == ".svg" else content)


def _cell(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


def _for_screens(svg: str) -> str:
    """Larger, since print is read from nearer than a screen, and with fonts for every machine."""

    def enlarged(found: re.Match[str]) -> str:
        return f'{found[1]}="{float(found[2]) * _ON_SCREEN:g}pt"'

    head, mark, body = svg.partition("viewBox")
    return re.sub(r'(width|height)="([0-9.]+)pt"', enlarged, head) + mark + body.replace("'DejaVu Sans'", _FONTS)


def method_style(name: str) -> dict[str, Any]:
    """Colour, dashes and marker of a method: the same in every figure, whatever other methods are shown."""
    look = METHODS.get(name)
    if look is None:
        used = set(METHODS.values())
        free = [found for found in itertools.product(PALETTE, DASHES, MARKERS) if found not in used]
        look = free[int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % len(free)]
    return dict(zip(("color", "linestyle", "marker"), look, strict=True))


def series_styles(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Line colour and dashes for each name that is no method, by position: 28 pairs, neighbours differ in both."""
    looks = zip(itertools.cycle(PALETTE), itertools.cycle(DASHES), strict=False)
    return {name: {"color": color, "linestyle": dashes} for name, (color, dashes) in zip(names, looks, strict=False)}


def panels(rows: int, columns: int, *, height: float = 1.3, **shared: Any) -> tuple[Figure, Any]:
    """Figure of one printed column and (rows, columns) array of axes, each about `height` inches high.

    `finish` makes room for title and legend. A `Figure` made without pyplot needs no display and leaves no global state
    behind.
    """
    figure = Figure(figsize=(COLUMN, height * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **shared)


def method_panels(
    methods: Sequence[str], headings: Sequence[str], *, height: float = 0.86, **shared: Any
) -> tuple[Figure, Any]:
    """A row of panels per method, with its name above, and a column per heading."""
    figure, axes = panels(len(methods), len(headings), height=height, **shared)
    above: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "bottom"}
    for ax, method in zip(axes[:, 0], methods, strict=True):
        # an empty title makes the room, since a long one would also push the next column away
        ax.set_title(" ")
        ax.annotate(method, (0, 1), xytext=(0, 3), fontweight="bold", **above).set_in_layout(False)
    for ax, text in zip(axes[0], headings, strict=True):
        ax.annotate(text, (0.5, 1), xytext=(0, 12), ha="center", **above)
    return figure, axes


def finish(
    figure: Figure,
    title: str,
    *,
    stand_in: bool = False,
    x_label: str | None = None,
    handles: Mapping[str, Any] | None = None,
) -> None:
    """Title, legend, and the warning without which numbers of stand-in encoders could be taken for results.

    `x_label` stands below all columns, above the legend. `handles` are the entries of the legend; without them they are
    what the axes have a label for, each once.
    """
    note = ("stand-in encoders or composite data:", "not comparable with published results") if stand_in else ()
    lines = [line for line in (title, *note) if line]
    figure.suptitle("\n".join(lines), fontsize=TITLE)
    if handles is None:
        pairs = [zip(*ax.get_legend_handles_labels(), strict=True) for ax in figure.axes]
        handles = {label: handle for handle, label in itertools.chain(*pairs)}
    height = figure.get_figheight() + 1.2 * LINE * ("\n".join(lines).count("\n") + 1.5)
    if handles:
        room = 72 * figure.get_figwidth() / SMALL
        columns = max(1, min(len(handles), int(room / (0.6 * max(map(len, handles)) + 4.6))))
        figure.legend(
            handles.values(),
            handles.keys(),
            loc="outside lower center",
            ncols=columns,
            handlelength=2.6,
            columnspacing=1.2,
            title=x_label,
            title_fontsize=SMALL,
        )
        height += LINE * (-(-len(handles) // columns) + 0.7 + bool(x_label))
    figure.set_figheight(height)


def describe(what: str, task: str, splits: int | str = "") -> str:
    """Title of a figure: what it shows, of which task, over how many class splits."""
    count = splits and f"{splits} split{'' if str(splits) == '1' else 's'}"
    where = ", ".join(part for part in (task, count) if part)
    # a long title is broken where it reads best
    gap = "\n" if len(what) + len(where) > LETTERS else " "
    return f"{what},{gap}{where}" if where else what


def note_figure(text: str, what: str, task: str) -> Drawing:
    """A figure that says why there is nothing to draw."""
    figure, axes = panels(1, 1, height=0.5)
    axes[0, 0].set_axis_off()
    draw_text(axes[0, 0], textwrap.fill(text, LETTERS))
    finish(figure, describe(what, task))
    return figure, [{"note": text}]


def draw_spread(axes: Axes, x: Floats, runs: ArrayLike, *, label: str, alpha: float = 0.15, **style: Any) -> None:
    """A line for the mean of several runs, (runs, n), and a band from the smallest to the largest; NaN is left out."""
    values = np.asarray(runs)
    marker = {"marker": "o"} if len(x) == 1 else {}
    axes.plot(x, np.nanmean(values, axis=0), label=label, **marker | style)
    if len(values) > 1:
        low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
        axes.fill_between(x, low, high, color=style["color"], alpha=alpha, linewidth=0)


def draw_paper(axes: Axes, printed: Sequence[tuple[float, float]], size: float) -> None:
    """The paper's values (x, y) as diamonds; choose x beside our own marks, which a diamond would hide."""
    style: dict[str, Any] = {"color": "white", "markeredgecolor": "black", "markersize": size, "linestyle": ""}
    if printed:
        axes.plot(*zip(*printed, strict=True), marker="d", markeredgewidth=0.6, label="paper's value", **style)


def draw_whisker(axes: Axes, x: float, low: float, high: float) -> None:
    """An interval on a bar: dark with a white rim, so that it is seen on bars of every colour."""
    for color, width in (("white", 2.2), ("#222222", 0.9)):
        axes.vlines(x, low, high, color=color, linewidth=width)


def draw_text(axes: Axes, text: str, **style: Any) -> None:
    """A text in the middle of a panel that has nothing to show."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", **style)
