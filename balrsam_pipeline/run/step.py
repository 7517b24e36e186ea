"""One step of a run, as data: a command that a user could type, with the files it reads and writes."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from balrsam_pipeline.command import load_command, parser_of
from balrsam_pipeline.layout import PreprocessedFolder, RawFolder, ResultsFolder
from balrsam_pipeline.paths import shown
from balrsam_pipeline.run.handed_on import settings_for, words_for
from balrsam_pipeline.run.request import RunRequest
from balrsam_pipeline.run.words import (
    SHARED,
)

_NONE: Mapping[str, str] = MappingProxyType({})
RAW, PREPROCESSED, RESULTS = (
    RawFolder(Path("raw")),
    PreprocessedFolder(Path("preprocessed")),
    ResultsFolder(Path("results")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command of a run.

    Attributes:
        name: unique in the run; its record is `results/DATASET/run/NAME.json`.
        title: for people.
        command: the sub-command of balrsam, and `words` its arguments.
        needs: names of the steps that must be done before.
        settings: the choices that its outputs depend on.
        inputs: patterns of the files it reads; `other_inputs` lie elsewhere, by label.
        outputs: patterns of the files it writes.
        continues: words to add where it was interrupted with the very same inputs.
        finished, outdated: see `command.CommandFiles`; the latter as patterns.
    """

    name: str
    title: str
    command: str
    words: tuple[str, ...]
    needs: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    other_inputs: Mapping[str, Path] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    continues: tuple[str, ...] = ()
    finished: Callable[[Path], tuple[Path, ...]] = lambda _: ()
    outdated: tuple[str, ...] = ()

    def __str__(self) -> str:
        return shlex.join(("balrsam", self.command, *self.words))

    def shown(self) -> str:
        """The command in short: without the folders that all steps share, paths from the working folder
        on."""
        words, left_out = ["balrsam", self.command], False
        for word in self.words:
            if not left_out and word not in SHARED:
                words.append(shown(Path(word)) if Path(word).is_absolute() else word)
            left_out = word in SHARED
        return shlex.join(words)


def make_step(
    request: RunRequest,
    command: str,
    words: tuple[str, ...],
    settings: Mapping[str, str] = _NONE,
    **facts: Any,
) -> Step:
    """A step with the options that are handed on to its command, and the files that the command writes."""
    words = (*words, *words_for(command, request.options))
    offered = load_command(command)
    if offered.files is None:
        raise TypeError(f"'{command}' does not say what it writes")
    files = offered.files(parser_of(command, offered).parse_args(words))
    return Step(
        command=command,
        words=words,
        settings={**settings, **settings_for(command, request.options)},
        outputs=_below(request, files.outputs),
        finished=files.finished,
        outdated=_below(request, files.outdated),
        **facts,
    )


def _below(request: RunRequest, paths: Iterable[Path]) -> tuple[str, ...]:
    """Files as labels: below the base that they lie in."""
    return tuple(
        next(
            (Path(base) / path.relative_to(folder)).as_posix()
            for base, folder in request.bases.items()
            if path.is_relative_to(folder)
        )
        for path in paths
    )


def labels(*paths: Path) -> tuple[str, ...]:
    return tuple(path.as_posix() for path in paths)
