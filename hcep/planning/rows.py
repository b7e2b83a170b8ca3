"""What plans ask of the rows of a shard, remembered: a manifest of a million rows takes a job longer than its work."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hcep.datasets.manifest_file import Clip


class Rows:
    """Answers about the clips of a shard, computed when they are first asked for.

    Parameters
    ----------
    memory : path
        JSON file of earlier answers; without it all are computed again.
    made_of : sequence of str or int
        What decides the answers: answers of something else are dropped.
    clips : callable
        Reads the clips, in the order of the manifest.
    keep : bool
        Whether to write `memory`.
    """

    def __init__(
        self, memory: Path, made_of: Sequence[str | int], clips: Callable[[], list[Clip]], *, keep: bool
    ) -> None:
        self.memory, self.made_of, self.clips, self.keep = memory, list(made_of), clips, keep
        self.known: dict[str, Any] = {}
        # one that was damaged is as good as none
        with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
            found = json.loads(memory.read_text(encoding="utf-8"))
            self.known = found["known"] if found["made_of"] == self.made_of else {}

    def ask(self, question: str, answer: Callable[[list[Clip]], Any]) -> Any:
        """The answer to a question; it must be the same after a way through JSON."""
        if question not in self.known:
            self.known[question] = answer(self.clips())
            if self.keep:
                write_memory(self.memory, {"made_of": self.made_of, "known": self.known})
        return self.known[question]


def write_memory(memory: Path, value: Any) -> None:
    """Write what a plan remembers as JSON: not synced, since a file that was damaged in a crash is as good as none."""
    memory.parent.mkdir(parents=True, exist_ok=True)
    temporary = memory.with_name(f"{memory.name}.{os.getpid()}")
    temporary.write_text(json.dumps(value), encoding="utf-8")
    temporary.replace(memory)
