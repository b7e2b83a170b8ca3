"""What the rules of the paper's tables ask: which runs a table needs, of which task, and what it lacks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from hcep import registry
from hcep.config.tables import Headline
from hcep.config.whole import Config
from hcep.planning.engine import Wildcards
from hcep.planning.runs import RunPlan
from hcep.provenance import stage_digest


class TablePlan:
    """Input and parameter functions of the rules of tables."""

    def __init__(self, config: Config, runs: RunPlan) -> None:
        self.config, self.runs = config, runs

    def our_task(self, task: str) -> str:
        """The task that stands in for a task of the paper (`table_tasks`)."""
        return self.config.table_tasks.get(task, task)

    def tasks(self, name: str) -> list[str]:
        """Our tasks of a table, in order."""
        return list(dict.fromkeys(self.our_task(task) for task in self.config.table(name).tasks()))

    def folders(self, wildcards: Wildcards) -> list[str]:
        """Folders of the runs of one task that a table needs."""
        methods = self.config.table(wildcards.table).methods()
        own = [method for method in methods if not self._lacking(wildcards.task, method)]
        return self.runs.folders_of(wildcards.task, own)

    def of_runs(self, *names: str) -> Callable[[Wildcards], list[str]]:
        """Input function: these files of every run of one task that a table needs."""
        return lambda wildcards: [f"{run}/{name}" for run in self.folders(wildcards) for name in names]

    def _lacking(self, task: str, method: str) -> str:
        """Why a method cannot run on a task, or ''."""
        encoder = self.config.encoder_of(task, method)
        if self.config.encoder(encoder).source != "import":
            return ""
        files = [self.config.features_file(dataset, encoder) for dataset in self.config.task(task).dataset]
        return "" if all(Path(path).is_file() for path in files) else "features not found"

    def summaries(self, wildcards: Wildcards) -> list[str]:
        """Summaries of a table's tasks."""
        return [f"results/{task}/tables/{wildcards.table}/summary.csv" for task in self.tasks(wildcards.table)]

    def complexity(self, wildcards: Wildcards) -> list[str]:
        """Counts, for a table that shows costs."""
        definition = self.config.table(wildcards.table)
        if isinstance(definition, Headline) or not definition.costs:
            return []
        return [f"results/{task}/tables/{wildcards.table}/complexity.csv" for task in self.tasks(wildcards.table)]

    def complexity_settings(self, wildcards: Wildcards) -> str:
        """Settings of those counts."""
        return self.runs.costs(wildcards.task, self.config.table(wildcards.table).methods())

    def complexity_code(self, wildcards: Wildcards) -> str:
        """Digest of those counts."""
        return self.runs.costs_code(self.config.table(wildcards.table).methods())

    def settings(self, wildcards: Wildcards) -> str:
        """The definition of a table, what stands in for what, and which methods have no run."""
        definition = self.config.table(wildcards.table)
        absent = {
            method: reason
            for method in definition.methods()
            for task in self.tasks(wildcards.table)
            if (reason := self._lacking(task, method))
        }
        stand_in = {task: other for task, other in self.config.table_tasks.items() if task != other}
        # not sorted: the order of columns is part of a table
        whole = definition.model_dump(by_alias=True)
        return json.dumps({"definition": whole, "stand_in_for": stand_in, "absent": absent})

    @staticmethod
    def target(name: str) -> list[str]:
        """Files of a table."""
        files = [f"results/tables/{name}.{ending}" for ending in ("csv", "md", "html")]
        return files + ([f"results/tables/{name}.svg"] if name in registry.TABLE_FIGURES else [])

    @staticmethod
    def figure_code(wildcards: Wildcards) -> str:
        """Digest of a figure that is drawn from a table."""
        return stage_digest("figure", registry.TABLE_FIGURES[wildcards.figure])
