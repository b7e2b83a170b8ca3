"""What all declarations of settings have in common."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

S = TypeVar("S", bound="Settings")
T = TypeVar("T")


class Settings(BaseModel):
    """Settings of one concern. An unknown key is an error, and no value is turned into another type."""

    # defaults are validated too, so that `timeout: 60` is the same number whether it is written or not
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, validate_default=True)

    def given(self) -> dict[str, Any]:
        """The settings that somebody wrote, without the defaults."""
        return self.model_dump(exclude_unset=True)


def no_repetition(values: list[T]) -> list[T]:
    """Refuse a list that names something twice."""
    twice = next((value for place, value in enumerate(values) if value in values[:place]), None)
    if twice is not None:
        raise ValueError(f"{twice!r} is listed twice")
    return values


def one_of(*allowed: float) -> AfterValidator:
    """Refuse a number that is none of these."""

    def check(value: float) -> float:
        if value not in allowed:
            raise ValueError(f"{value!r} is not one of {', '.join(map(str, allowed))}")
        return value

    return AfterValidator(check)


Name = Annotated[str, StringConstraints(pattern="^[a-z0-9_]+$")]
Openness = Annotated[str, StringConstraints(pattern="^k[0-9]+u[0-9]+$")]
SplitName = Annotated[str, StringConstraints(pattern="^split[0-9]+$")]
Unique = AfterValidator(no_repetition)
