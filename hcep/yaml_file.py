"""YAML as its writer meant it: a key that is written twice is an error, where YAML keeps the last one in silence."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from hcep.errors import HcepError


class _UniqueKeyLoader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"{key.value!r} occurs twice, first in row {seen[key.value]}", problem_mark=key.start_mark
                )
            seen[key.value] = line
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> Any:
    """The content of a YAML file.

    Raises
    ------
    HcepError
        When it is no YAML, or a mapping has a key twice; with the row.
    OSError
        When it cannot be read.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)
    except yaml.MarkedYAMLError as error:
        row = None if error.problem_mark is None else error.problem_mark.line + 1
        raise HcepError(f"not valid YAML: {error.problem}", file=path, row=row, remedy="mend that row") from error
    except RecursionError as error:
        raise HcepError("not valid YAML: it is nested too deeply", file=path, remedy="mend the file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise HcepError(f"not valid YAML: {error}", file=path, remedy="mend the file") from error
