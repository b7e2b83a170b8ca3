"""What is wrong with a configuration, in one line: the place, the cause, and what was probably meant."""

from __future__ import annotations

import decimal
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

import yaml
from pydantic import BaseModel

from hcep.errors import HcepError, closest, not_text

TYPES = {"string": "string", "float": "number", "int": "integer", "bool": "boolean", "list": "array", "dict": "object"}
LISTED = "correct it; config/README.md lists every key and what it may be"


def explain(
    found: Sequence[Mapping[str, Any]], model: type[BaseModel], *, file: str, prefix: Sequence[str] = ()
) -> HcepError:
    """One of the errors of a validation, as a user reads it.

    Parameters
    ----------
    found : sequence of mapping
        What ``ValidationError.errors`` gives.
    model : type
        The model that was validated against, for the names that it knows.
    file : str
        What the values come from.
    prefix : sequence of str
        Where in that file the values stand.
    """
    # a mistyped key is often also why another one is missing
    first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
    place = _keys(first["loc"])
    if first["type"] == "missing":
        place = place[:-1]
    if first["type"] == "extra_forbidden":
        place = place[:-1]
        names = [str(one["loc"][-1]) for one in found if one["type"] == "extra_forbidden" and _parent(one) == place]
        listed = ", ".join(repr(name) for name in names)
        cause = f"{listed} {'was' if len(names) == 1 else 'were'} unexpected"
        hint = "".join(f"{meant} or " for meant in (_meant(name, place, model) for name in names) if meant)
    else:
        cause, hint = _cause(first), _hint(first)
    row = ".".join([*prefix, *place]) or None
    return HcepError(cause, file=file, row=row, remedy=hint + LISTED)


def _keys(loc: Sequence[int | str]) -> list[str]:
    """A place without the marks that pydantic adds for keys of mappings and for kinds of tables."""
    kinds = ("[key]", "table", "headline")
    return [
        str(part) for i, part in enumerate(loc) if part not in kinds or (part != "[key]" and loc[i - 1] == "tables")
    ]


def _parent(error: Mapping[str, Any]) -> list[str]:
    return _keys(error["loc"])[:-1]


def _cause(error: Mapping[str, Any]) -> str:
    kind, value, limits = error["type"], error["input"], error.get("ctx", {})
    wanted = TYPES.get(kind.partition("_")[0])
    if kind == "missing":
        return f"{error['loc'][-1]!r} is missing"
    if kind.endswith(("_type", "_parsing", "from_float")) and wanted:
        return f"{value!r} is not of type '{wanted}'"
    if kind in ("model_type", "model_attributes_type"):
        return f"{value!r} is not of type 'object'"
    if kind == "greater_than_equal":
        return f"{value!r} is less than the minimum of {limits['ge']:g}"
    if kind == "less_than_equal":
        return f"{value!r} is greater than the maximum of {limits['le']:g}"
    if kind == "greater_than":
        return f"{value!r} must be more than {limits['gt']:g}"
    if kind == "less_than":
        return f"{value!r} must be less than {limits['lt']:g}"
    if kind == "literal_error":
        return f"{value!r} is not one of {limits['expected']}"
    if kind == "string_pattern_mismatch":
        return f"{value!r} does not match {limits['pattern']}"
    if kind == "too_short":
        return f"has {limits['actual_length']} entries and needs at least {limits['min_length']}"
    if kind == "value_error":
        return str(limits["error"])
    return f"{value!r}: {error['msg']}"


def _hint(error: Mapping[str, Any]) -> str:
    """What was probably meant, as the beginning of a remedy; '' where nothing is near."""
    kind, value = error["type"], error["input"]
    if kind == "string_type":
        return f"{not_text(value)}; or "
    if kind.startswith(("float", "int")) and isinstance(value, str):
        return _number_hint(value)
    if kind == "literal_error" and isinstance(value, str):
        near = closest(value, [part.strip("'\" ") for part in error["ctx"]["expected"].replace(" or ", ",").split(",")])
        return f"did you mean {near!r}? or " if near else ""
    return ""


def _number_hint(text: str) -> str:
    """What to write in place of a number that was read as text; '' where it is none."""
    try:
        value = decimal.Decimal(text)
    except decimal.InvalidOperation:
        return ""
    if isinstance(yaml.safe_load(text), (int, float)):
        return (
            "a number in quotes, or in braces after --config, is text: write it bare, in a file for --configfile; or "
        )
    return f"YAML takes {text} for text: write {value:f}; or "


def _meant(name: str, place: Sequence[str], model: type[BaseModel]) -> str:
    """What an unknown key was probably meant to be."""
    here = _model_at(model, place)
    near = closest(name, here.model_fields) if here else None
    if near:
        return f"did you mean {near!r}?"
    known = set(_all_keys(model))
    if name in known:
        return f"{name} belongs elsewhere"
    near = closest(name, known)
    return f"did you mean {near!r}?" if near else ""


def _model_at(model: type[BaseModel], place: Sequence[str]) -> type[BaseModel] | None:
    """The model of the values at a place; None where they are of no model."""
    kind: Any = model
    for key in place:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            field = kind.model_fields.get(key)
            kind = field.annotation if field else None
        else:  # a mapping or a list: what its values are
            kind = (get_args(kind) or (None,))[-1]
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _all_keys(model: type[BaseModel]) -> Iterator[str]:
    """Every key of a model and of the models inside it."""
    waiting: list[Any] = [model]
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from kind.model_fields
            waiting += [field.annotation for field in kind.model_fields.values()]
        else:
            waiting += get_args(kind)
