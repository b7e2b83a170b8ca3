"""What the adapters of the corpora share: settings, the words of a clip, and what they print."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from hcep.datasets.settings import choose, fill

TEXTS = ("manifest", "none", "asr")


class Corpus:
    """A release on disk, in the folder `root`, read by the adapter called `name`.

    `choices` maps a setting to the values that it may have, the default first; `others` are the defaults of the
    settings with any number of values, which the adapter checks itself.
    """

    name: ClassVar[str]
    choices: ClassVar[Mapping[str, tuple[Any, ...]]]
    others: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, root: Path, settings: dict[str, Any]) -> None:
        self.root = Path(root)
        defaults = {setting: allowed[0] for setting, allowed in self.choices.items()}
        self.settings = fill(self.name, settings, {**defaults, **self.others})
        for setting, allowed in self.choices.items():
            choose(self.name, setting, self.settings[setting], allowed)

    def below(self, place: Path) -> str:
        """A path as it is written in the manifest: below the root, with /."""
        return place.relative_to(self.root).as_posix()

    def words(self, transcript: str) -> tuple[str, str]:
        """Columns `text` and `text_kind`: the words where the setting `text` is manifest and there are any."""
        source: str = self.settings["text"]
        return (transcript, "transcript" if transcript else "none") if source == "manifest" else ("", source)

    def tell(self, line: str) -> None:
        """Print a line about the release."""
        print(f"{self.name}: {line}", file=sys.stderr)
