"""The tables of settings in config/README.md, written from the declarations: ``python -m hcep.config.document``."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from hcep.config.base import Settings
from hcep.config.entries import Dataset, Encoder, Evaluation, Robustness, Task, Unknowns
from hcep.config.methods import METHODS, Changes
from hcep.config.whole import Config
from hcep.files import write_text

SECTIONS: dict[str, type[Settings]] = {
    "top": Config,
    "dataset": Dataset,
    "encoder": Encoder,
    "task": Task,
    "evaluation": Evaluation,
    "unknowns": Unknowns,
    "robustness": Robustness,
}


def document(text: str) -> str:
    """The text with every table between its two marks written anew."""
    tables = {name: _table(model.model_fields) for name, model in SECTIONS.items()}
    tables["settings"] = _settings_table()

    def filled(match: re.Match[str]) -> str:
        return f"{match[1]}\n{tables[match[2]]}\n{match[3]}"

    return re.sub(r"(<!-- settings: (\w+) -->)\n.*?\n(<!-- end -->)", filled, text, flags=re.DOTALL)


def _table(fields: dict[str, FieldInfo]) -> str:
    lines = ["| key | default | values | meaning |", "|---|---|---|---|"]
    for name, field in fields.items():
        lines.append(f"| `{name}` | {_default(field)} | {_values(field)} | {field.description} |")
    return "\n".join(lines)


def _settings_table() -> str:
    lines = ["| key | default | values | read by | meaning |", "|---|---|---|---|---|"]
    for name, field in _in_reading_order():
        readers = [base for base, model in METHODS.items() if name in model.model_fields]
        others = [base for base in METHODS if base not in readers]
        read_by = "every method" if _read_by_most(name) else _listed(readers)
        read_by += f" but {_listed(others)}" if _read_by_most(name) and others else ""
        lines.append(f"| `{name}` | {_default(field)} | {_values(field)} | {read_by} | {field.description} |")
    return "\n".join(lines)


def _in_reading_order() -> list[tuple[str, FieldInfo]]:
    """Settings of most methods first, then those of HCEP, then those of rivals."""
    names = dict.fromkeys(name for model in METHODS.values() for name in model.model_fields)
    common = filter(_read_by_most, names)
    ordered = dict.fromkeys([*common, *names])
    return [(name, Changes.model_fields[name]) for name in ordered if name in Changes.model_fields]


def _read_by_most(name: str) -> bool:
    return sum(name in model.model_fields for model in METHODS.values()) > 0.75 * len(METHODS)


def _listed(bases: list[str]) -> str:
    return ", ".join(f"`{base}`" for base in bases)


def _values(field: FieldInfo) -> str:
    """What a setting may be."""
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(field.annotation))
    if field.annotation is bool:
        return "`true`, `false`"
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    limits = [
        (sign, getattr(limit, name)) for limit in field.metadata for name, sign in signs.items() if hasattr(limit, name)
    ]
    kinds = {int: "integer", float: "number", str: "text"}
    kind = kinds.get(field.annotation, "") if isinstance(field.annotation, type) else ""
    if str(get_origin(field.annotation)) in ("<class 'list'>", "<class 'dict'>"):
        kind = "list" if get_origin(field.annotation) is list else "mapping"
    return " ".join([kind, *(f"{sign} {value:g}" for sign, value in limits if value is not None)]).strip()


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if value is None:
        return "none"
    if isinstance(value, Settings):
        value = value.given() if value == type(value)() else dict(value)
    if isinstance(value, str):
        return f"`{value}`"
    if isinstance(value, float):
        return f"{value:g}"
    return f"`{json.dumps(value)}`".replace('"', "") if isinstance(value, (dict, list)) else str(value).lower()


if __name__ == "__main__":
    page = Path(sys.argv[1] if len(sys.argv) > 1 else "config/README.md")
    write_text(page, document(page.read_text(encoding="utf-8")))
