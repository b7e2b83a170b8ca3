"""All faults of a table in one error, so that it is corrected once and not row by row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from hcep.errors import HcepError

# lines of faults that one message shows, and rows that one line names
SHOWN, NAMED = 20, 5


class BadTable(HcepError):
    """The faults of one table; a single one reads like any other error, and of several the first is `cause` and `row`.

    Attributes
    ----------
    faults : list of HcepError
        In order of their rows.
    usable : list
        What was read from the rows without a fault.
    """

    def __init__(self, path: Path, faults: Sequence[HcepError], usable: Sequence[Any] = ()) -> None:
        self.faults = sorted(faults, key=lambda fault: fault.row if isinstance(fault.row, int) else 0)
        self.usable = list(usable)
        first = self.faults[0]
        super().__init__(first.cause, file=first.file, row=first.row, remedy=first.remedy)
        if len(faults) > 1:
            rows = len({fault.row for fault in faults})
            told = f"{path}: {len(faults)} faults in {rows} row{'s' if rows > 1 else ''}"
            self.args = ("\n".join([told, *_listed(self.faults)]),)


class BadRows:
    """Collects the faults of a table; as a context it ends with one `BadTable` of all, or with nothing.

    An HcepError that leaves the context is the last of them: it hides none of those before it.

    Parameters
    ----------
    path : path
        The table.
    read : mapping, optional
        Row to what was read from it, filled while rows are read.
    """

    def __init__(self, path: Path, read: Mapping[int, Any] | None = None) -> None:
        self.path, self.read = path, {} if read is None else read
        self.faults: list[HcepError] = []

    def add(self, cause: str, row: int, remedy: str) -> None:
        """Note a fault of a row."""
        self.faults.append(HcepError(cause, file=self.path, row=row, remedy=remedy))

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Note the HcepError that ends a block, and go on behind it."""
        try:
            yield
        except HcepError as error:
            self.faults.append(error)

    def __enter__(self) -> BadRows:
        return self

    def __exit__(self, _: type | None, error: BaseException | None, __: TracebackType | None) -> None:
        if isinstance(error, HcepError):
            self.faults.append(error)
        elif error is not None:
            return
        if self.faults:
            bad = {fault.row for fault in self.faults}
            raise BadTable(self.path, self.faults, [one for row, one in self.read.items() if row not in bad]) from error


def _listed(faults: Sequence[HcepError]) -> list[str]:
    """Lines that name the faults: those with one remedy together, and of every remedy some before all of another."""
    kinds: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for fault in faults:
        kinds[fault.remedy or ""][fault.cause].append("?" if fault.row is None else str(fault.row))
    ranked = sorted((rank, kind, cause) for kind in kinds for rank, cause in enumerate(kinds[kind]))
    shown = {(kind, cause) for _, kind, cause in ranked[:SHOWN]}
    lines, hidden = [], 0
    for kind, causes in kinds.items():
        told = [cause for cause in causes if (kind, cause) in shown]
        lines += [f"  row {causes[cause][0]}: {cause}{_others(causes[cause][1:])}" for cause in told]
        rest = sum(len(rows) for cause, rows in causes.items() if cause not in told)
        if told:
            lines += [f"  and {rest} more like {'these' if len(told) > 1 else 'this'}"] if rest else []
            lines += [f"    Remedy: {kind}"] if kind else []
        else:
            hidden += rest
    return [*lines, f"  and {hidden} more of other kinds"] if hidden else lines


def _others(rows: Sequence[str]) -> str:
    """The other rows with the same fault, as words."""
    if not rows:
        return ""
    more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    return f" (also rows {', '.join(rows[:NAMED])}{more})" if len(rows) > 1 else f" (also row {rows[0]})"
