"""Frozen dataclasses <-> JSON values, driven by their type annotations; unknown keys are refused by name."""

from __future__ import annotations

import dataclasses
import json
import sys
import types
import typing
from functools import cache
from typing import Any, TypeVar

from balrsam_pipeline.errors import BalrsamError, PlanError

T = TypeVar("T")
LARGEST_WHOLE = 2**53  # what JSON's numbers hold exactly everywhere; sizes in bytes are far below
LARGEST = sys.float_info.max  # NaN and infinities compare as not below it, and whole numbers may be beyond it


def to_json(value: Any, *, without_added_defaults: bool = False) -> Any:
    """Turn dataclasses, tuples, dicts and scalars into plain JSON values (tuples become lists).

    Args:
        without_added_defaults: leave out fields whose metadata says "added" where they have their default, so
            that a value from before the field existed and the same value of today are alike.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: to_json(getattr(value, field.name), without_added_defaults=without_added_defaults)
            for field in dataclasses.fields(value)
            if not (
                without_added_defaults
                and field.metadata.get("added")
                and getattr(value, field.name) == field.default
            )
        }
    if isinstance(value, dict):
        return {
            str(key): to_json(item, without_added_defaults=without_added_defaults)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [to_json(item, without_added_defaults=without_added_defaults) for item in value]
    return value


def compact_json(value: Any) -> str:
    """The text of a JSON value that is hashed: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def from_json(kind: type[T], value: Any, where: object, error: type[BalrsamError] = PlanError) -> T:
    """Build a dataclass of type `kind` from a JSON object.

    A field whose metadata says "formerly" is read under that name, too.

    Args:
        where: the file the value came from, named in messages.
        error: the class of error to raise.

    Raises:
        error: a key is missing or unknown, or a value has the wrong type; the message names the key.
    """
    return typing.cast(T, _read(kind, value, str(where), "", error))


def _read(kind: Any, value: Any, where: str, key: str, error: type[BalrsamError]) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind) and isinstance(value, kind):
        return value  # made while the text was read
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(kind, value, where, key, error)
    if origin in (typing.Union, types.UnionType):
        return _read_union(arguments, value, where, key, error)
    if origin is typing.Literal:
        if value in arguments:
            return value
        raise _wrong(where, key, value, " or ".join(repr(choice) for choice in arguments), error)
    if origin is tuple and isinstance(value, list):
        return _read_tuple(arguments, value, where, key, error)
    if origin is dict and isinstance(value, dict):
        return {
            name: _read(arguments[1], item, where, f"{key}.{name}".lstrip("."), error)
            for name, item in value.items()
        }
    if kind is float and type(value) in (int, float) and abs(value) <= LARGEST:
        return float(value)
    if kind is int and type(value) is int and abs(value) <= LARGEST_WHOLE:
        return value
    if kind in (str, bool) and type(value) is kind:
        return value
    if kind is type(None) and value is None:
        return None
    raise _wrong(where, key, value, getattr(kind, "__name__", str(kind)), error)


def _read_dataclass(kind: Any, value: Any, where: str, key: str, error: type[BalrsamError]) -> Any:
    if not isinstance(value, dict):
        raise _wrong(where, key, value, "a JSON object", error)
    hints, fields = _hints(kind), dataclasses.fields(kind)
    formerly = {old: field.name for field in fields if (old := field.metadata.get("formerly"))}
    value = {formerly.get(name, name): item for name, item in value.items()}
    unknown = sorted(set(value) - {field.name for field in fields})
    if unknown:
        raise error(
            where,
            found=f"unknown key {', '.join(repr(name) for name in unknown)}"
            + (f" in '{key}'" if key else ""),
            expected=f"only {', '.join(field.name for field in fields)}",
            fix="correct or remove it, or make the file again with the command that writes it",
        )
    missing = [
        field.name
        for field in fields
        if field.name not in value
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise error(
            where,
            found=f"no key {', '.join(repr(name) for name in missing)}" + (f" in '{key}'" if key else ""),
            expected="every required key",
            fix="make the file again with the command that writes it",
        )
    return kind(
        **{
            name: _read(hints[name], item, where, f"{key}.{name}".lstrip("."), error)
            for name, item in value.items()
        }
    )


@cache
def _hints(kind: Any) -> dict[str, Any]:
    """Of a dataclass; worked out once, for there may be 100,000 of a kind in a file."""
    return typing.get_type_hints(kind)


def _read_union(
    arguments: tuple[Any, ...], value: Any, where: str, key: str, error: type[BalrsamError]
) -> Any:
    problem: BalrsamError | None = None
    for choice in arguments:
        try:
            return _read(choice, value, where, key, error)
        except BalrsamError as caught:
            problem = problem or caught
    raise problem or _wrong(where, key, value, "a known type", error)


def _read_tuple(
    arguments: tuple[Any, ...], value: list[Any], where: str, key: str, error: type[BalrsamError]
) -> tuple[Any, ...]:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(
            _read(arguments[0], item, where, f"{key}[{index}]", error) for index, item in enumerate(value)
        )
    if len(value) != len(arguments):
        raise _wrong(where, key, value, f"{len(arguments)} values", error)
    return tuple(
        _read(kind, item, where, f"{key}[{index}]", error)
        for index, (kind, item) in enumerate(zip(arguments, value, strict=True))
    )


def _wrong(where: str, key: str, value: Any, expected: str, error: type[BalrsamError]) -> BalrsamError:
    return error(
        where,
        found=f"'{key}' is {str(value)[:80]!r}" if key else f"{str(value)[:80]!r}",
        expected=expected,
        fix=f"correct '{key or 'the file'}'",
    )
