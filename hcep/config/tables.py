"""The declarations of the paper's tables (config/tables.yaml)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from hcep.config.base import Settings


class TableRow(Settings):
    """A row of a table."""

    name: str = Field(description="as printed")
    method: str = Field(description="our method")
    section: str = Field("", description="a heading that several rows share")
    paper: str = Field("", description="the method in paper_results.csv, where it has another name there")
    source: str = Field("", description="the table in paper_results.csv, where it has another name there")


def _place(value: str) -> str:
    task, slash, openness = value.partition("/")
    if not (task and slash and openness):
        raise ValueError(f"{value!r} is no place: write task/openness, as mafw/k8u2, or task/mean")
    return value


def _rows_apart(rows: list[TableRow]) -> list[TableRow]:
    seen = set()
    for row in rows:
        if (row.section, row.name) in seen:
            raise ValueError(f"row {row.name!r} is listed twice: name rows apart")
        seen.add((row.section, row.name))
    return rows


class PaperTable(Settings):
    """A table of the paper: rows are methods, columns are a task at an openness level or its mean over them."""

    caption: str
    columns: dict[str, Annotated[str, AfterValidator(_place)]] = Field(
        min_length=1, description="heading as printed → `task/openness`, or `task/mean`"
    )
    rows: Annotated[list[TableRow], Field(min_length=1), AfterValidator(_rows_apart)]
    metrics: dict[str, str] = Field({"auroc": "AUROC", "oscr": "OSCR"}, description="metric → heading as printed")
    costs: dict[str, Literal["learnable_m", "inference_s", "frozen_m", "gflop_per_clip", "memory_gb"]] = Field(
        {}, description="metric → column of complexity.csv"
    )
    stacked: bool = Field(False, description="levels below each other, as in Table 8")
    source: str = Field("", description="the table in paper_results.csv, where it has another name there")

    def places(self) -> list[tuple[str, str]]:
        """Task and openness of every column."""
        return [(task, openness) for task, _, openness in (place.partition("/") for place in self.columns.values())]

    def methods(self) -> list[str]:
        """Our methods, each once, in the order of the rows."""
        return list(dict.fromkeys(row.method for row in self.rows))

    def tasks(self) -> list[str]:
        """The paper's tasks, each once."""
        return list(dict.fromkeys(task for task, _ in self.places()))


class Headline(Settings):
    """The abstract's relative gains of one method over another."""

    caption: str
    method: str
    baseline: str
    tasks_: list[str] = Field(alias="tasks", min_length=1)

    def methods(self) -> list[str]:
        """The two methods."""
        return [self.method, self.baseline]

    def tasks(self) -> list[str]:
        """The paper's tasks."""
        return self.tasks_


def _kind(value: Any) -> str:
    return "headline" if isinstance(value, dict) and "baseline" in value else "table"


Table = Annotated[Annotated[PaperTable, Tag("table")] | Annotated[Headline, Tag("headline")], Discriminator(_kind)]
