"""Options of the command line, each declared once: on the dataclass field that it sets.

    seed: int = option("seed of weights and samples", default=0, metavar="N")

`add_options` makes argparse options of such fields, `given` reads what the user gave, and `words_of` writes a
value down as a command line again. Imports nothing heavy, so that `--help` is quick.
"""

from __future__ import annotations

import argparse
import dataclasses
import types
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_KEY = "option"


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """How a field is set on the command line.

    Attributes:
        names: the option, then its aliases; without any, the field's name makes it.
        choices: those allowed; a field whose type is a `Literal` has its own.
        read: makes the value of a word; None does what the field's type says.
    """

    help: str
    metavar: str | None
    names: tuple[str, ...]
    choices: tuple[str, ...]
    read: Callable[[str], Any] | None = None


def option(
    help_text: str,
    *,
    default: Any,
    metavar: str | None = None,
    names: tuple[str, ...] = (),
    choices: tuple[str, ...] = (),
    read: Callable[[str], Any] | None = None,
) -> Any:
    """A dataclass field that is an option of the command line too.

    A bool that is true by default becomes `--no-NAME`; a tuple takes several words.
    """
    entry = Option(help=help_text, metavar=metavar, names=names, choices=choices, read=read)
    return dataclasses.field(default=default, metadata={_KEY: entry})


@dataclass(frozen=True, slots=True)
class _Known:
    """An option with what its field says: name, default, and type without None and without tuple."""

    field: str
    default: Any
    kind: type
    several: bool
    choices: tuple[str, ...]
    names: tuple[str, ...]
    option: Option


def add_options(parser: argparse._ActionsContainer, kind: type, *, without: Collection[str] = ()) -> None:
    """Add an option for every field of a dataclass that declares one.

    Where the user gives none, the parsed value is None (False for a flag), so that `given` can tell.

    Args:
        without: fields to leave out.
    """
    for known in _options(kind):
        if known.field in without:
            continue
        if known.kind is bool:
            parser.add_argument(*known.names, dest=known.field, action="store_true", help=known.option.help)
            continue
        parser.add_argument(
            *known.names,
            dest=known.field,
            type=known.option.read or known.kind,
            nargs="+" if known.several else None,
            choices=known.choices or None,
            metavar=known.option.metavar,
            help=known.option.help,
        )


def given(arguments: argparse.Namespace, kind: type) -> dict[str, Any]:
    """Field -> value of every option that the user gave."""
    found: dict[str, Any] = {}
    for known in _options(kind):
        value = getattr(arguments, known.field, None)
        if known.kind is bool:
            if value:
                found[known.field] = not known.default
        elif value is not None:
            found[known.field] = tuple(value) if known.several else value
    return found


def words_of(value: object) -> tuple[str, ...]:
    """The command line that gives a dataclass its values, as far as they are options and no defaults."""
    words: list[str] = []
    for known in _options(type(value)):
        item = getattr(value, known.field)
        if item == known.default or item is None:
            continue
        words.append(known.names[0])
        if known.kind is not bool:
            words += map(str, item) if known.several else [str(item)]
    return tuple(words)


def _options(kind: type) -> Iterator[_Known]:
    hints = get_type_hints(kind)
    for item in dataclasses.fields(kind):
        entry: Option | None = item.metadata.get(_KEY)
        if entry is None:
            continue
        plain, several, choices = (str, False, ()) if entry.read else _plain(hints[item.name])
        dashed = item.name.replace("_", "-")
        usual = f"--no-{dashed}" if plain is bool and item.default else f"--{dashed}"
        yield _Known(
            field=item.name,
            default=item.default,
            kind=plain,
            several=several,
            choices=entry.choices or choices,
            names=entry.names or (usual,),
            option=entry,
        )


def _plain(hint: Any) -> tuple[type, bool, tuple[str, ...]]:
    """The type of one word, whether there are several, and the choices: of `tuple[int, ...] | None`, int and
    True."""
    if get_origin(hint) in (Union, types.UnionType):
        (hint,) = (part for part in get_args(hint) if part is not type(None))
    if get_origin(hint) is tuple:
        plain, _, choices = _plain(get_args(hint)[0])
        return plain, True, choices
    if get_origin(hint) is Literal:
        return str, False, get_args(hint)
    if hint not in (bool, int, float, str, Path):
        raise TypeError(f"no option can be made of a field of type {hint}")
    plain_type: type = hint
    return plain_type, False, ()
