"""Options of the steps' commands that `balrsam run` takes and hands on to the step that they belong to.

They are read off the commands' own parsers, so that a new option of training is one of `run` too. An option
keeps its name unless several of the commands (or `run` itself) have one so called: then the step's name
stands before it, as in `--train-batch-size` and `--predict-batch-size`.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from balrsam_pipeline.command import load_command, parser_of
from balrsam_pipeline.errors import UsageError
from balrsam_pipeline.files import read_json

# step -> its command; and the arguments that a run decides itself, or that make no sense in one
STEPS = {
    "plan": "plan_and_preprocess",
    "train": "train",
    "choose": "find_best_configuration",
    "predict": "predict",
}
_EVERYWHERE = {
    "help",
    "dataset",
    "raw",
    "preprocessed",
    "results",
    "cluster",
    "cluster_wait",
    "tls_ca",
    "tls_cert",
    "tls_key",
}
_DECIDED = {
    "plan_and_preprocess": {"configurations", "plan", "keep_plan", "workers", "device"},
    "train": {
        "configuration",
        "plan",
        "fold",
        "device",
        "max_minutes",
        "epochs",
        "settings",
        "accept_changed_settings",
        "only_validate",
    },
    "find_best_configuration": {"configurations", "folds", "device", "workers"},
    "predict": {"input", "output", "model", "configuration", "plan", "best", "folds", "weights", "device"}
    | {"workers", "continue_run", "part"},
}
Options = Mapping[str, Mapping[str, tuple[str, ...]]]


def add_handed_on(parser: argparse.ArgumentParser) -> None:
    """Add the options of planning, training and prediction that `parser` does not have itself."""
    taken = {name for action in parser._actions for name in action.option_strings}
    found = {step: list(_options_of(command)) for step, command in STEPS.items()}
    uses = Counter(name for actions in found.values() for action in actions for name in _long(action))
    for step, actions in found.items():
        group = parser.add_argument_group(f"handed on to {STEPS[step]}")
        for action in actions:
            names = [
                name if uses[name] == 1 and name not in taken else f"--{step}-{name.removeprefix('--')}"
                for name in _long(action)
            ]
            group.add_argument(
                *names,
                action=_HandOn,
                nargs=action.nargs,
                type=action.type or str,
                choices=action.choices,
                metavar=action.metavar,
                help=action.help,
                dest="options",
                default=argparse.SUPPRESS,
                of=(STEPS[step], _long(action)[0]),
            )


def require_files(arguments: argparse.Namespace) -> None:
    """Look at the files that options name, handed on or not, before the first step: the last one may come
    after hours.

    Raises:
        UsageError: there is no such file or folder, or a file of JSON is none.
    """
    named = [("--settings", "JSON", arguments.settings)] if arguments.settings else []
    for step, command in STEPS.items():
        given = getattr(arguments, "options", {}).get(command, {})
        for action in _options_of(command) if given else ():
            if action.type is Path and (words := given.get(_long(action)[0])):
                named += [(f"{step}: {_long(action)[0]}", str(action.metavar), Path(word)) for word in words]
    for name, kind, path in named:
        if not path.exists():
            raise UsageError(
                f"{name} {path}",
                found="no such file",
                expected="a file that is there before the run begins",
                fix="check the path",
            )
        if kind == "JSON":
            read_json(path, UsageError)


def words_for(command: str, options: Options) -> tuple[str, ...]:
    """The words that hand a command its options; cross-validation trains, so it takes those of training."""
    given = options.get("train" if command == "crossval" else command, {})
    return tuple(word for name, values in given.items() for word in (name, *values))


def settings_for(command: str, options: Options) -> dict[str, str]:
    """Those of a command's options that change what it makes, as settings of a step."""
    how = load_command(command).how
    return {name: " ".join(values) for name, values in options.get(command, {}).items() if name not in how}


def _options_of(command: str) -> Iterator[argparse.Action]:
    decided = _EVERYWHERE | _DECIDED[command]
    for action in parser_of(command, load_command(command))._actions:
        if action.option_strings and action.dest not in decided:
            yield action


def _long(action: argparse.Action) -> list[str]:
    return [name for name in action.option_strings if name.startswith("--")]


class _HandOn(argparse.Action):
    """Collects what is given: command -> option -> words."""

    def __init__(
        self, option_strings: Sequence[str], dest: str, of: tuple[str, str], **settings: Any
    ) -> None:
        super().__init__(option_strings, dest, **settings)
        self.of = of

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Note the words under the command and the option that they are for."""
        command, name = self.of
        words = tuple(map(str, values)) if isinstance(values, list) else (str(values),)
        before: dict[str, dict[str, tuple[str, ...]]] = getattr(namespace, "options", {})
        namespace.options = before | {command: before.get(command, {}) | {name: words}}
