"""The sub-command `completion`: a script with which a shell completes commands, options and their choices."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator

from balrsam_pipeline.command import COMMANDS as KNOWN
from balrsam_pipeline.command import Command, load_command, parser_of

SHELLS = ("bash", "zsh", "fish")
BASH = """\
_balrsam() {
  local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} options=
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "COMMANDS" -- "$word"))
    return
  fi
  case "${COMP_WORDS[1]} $previous" in
CHOICES
  esac
  if [ -n "$options" ]; then
    COMPREPLY=($(compgen -W "$options" -- "$word"))
    return
  fi
  case "${COMP_WORDS[1]}" in
OPTIONS
  esac
  COMPREPLY=()
  if [ "${word#-}" != "$word" ]; then
    COMPREPLY=($(compgen -W "$options" -- "$word"))
  fi
}
complete -o default -F _balrsam balrsam
"""


def script(shell: str) -> str:
    """The script for one of `SHELLS`; where it offers nothing, shells offer files."""
    if shell == "fish":
        return "\n".join(_fish()) + "\n"
    options, choices = [], []
    for name, actions in _options():
        words = " ".join(word for action in actions for word in action.option_strings)
        options.append(f'    {name}) options="{words}" ;;')
        for action in actions:
            if action.choices:
                patterns = "|".join(f'"{name} {word}"' for word in action.option_strings)
                choices.append(f'    {patterns}) options="{" ".join(map(str, action.choices))}" ;;')
    filled = BASH.replace("COMMANDS", " ".join(KNOWN))
    filled = filled.replace("CHOICES", "\n".join(choices)).replace("OPTIONS", "\n".join(options))
    return f"autoload -U +X bashcompinit && bashcompinit\n{filled}" if shell == "zsh" else filled


def _fish() -> Iterator[str]:
    for name, (_, line) in KNOWN.items():
        yield f"complete -c balrsam -n __fish_use_subcommand -f -a {name} -d {shlex.quote(line)}"
    for name, actions in _options():
        for action in actions:
            names = [f"-l {word[2:]}" for word in action.option_strings if word.startswith("--")]
            names += [f"-s {word[1:]}" for word in action.option_strings if not word.startswith("--")]
            chosen = f" -x -a {shlex.quote(' '.join(map(str, action.choices)))}" if action.choices else ""
            seen = f"'__fish_seen_subcommand_from {name}'"
            yield f"complete -c balrsam -n {seen} {' '.join(names)}{chosen}"


def _options() -> Iterator[tuple[str, list[argparse.Action]]]:
    """Every command with its options."""
    for name in KNOWN:
        parser = parser_of(name, load_command(name))
        yield name, [action for action in parser._actions if action.option_strings]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `balrsam completion`."""
    parser.add_argument("shell", choices=SHELLS, help="the shell that is to complete")


def run(arguments: argparse.Namespace) -> int:
    """Run `balrsam completion`."""
    sys.stdout.write(script(arguments.shell))
    return 0


COMMANDS = {
    "completion": Command(
        summary="Print a script with which the shell completes commands, options and their choices.",
        example='eval "$(balrsam completion bash)"                 # in ~/.bashrc; zsh likewise in ~/.zshrc\n'
        "balrsam completion fish > ~/.config/fish/completions/balrsam.fish",
        add_arguments=add_arguments,
        run=run,
    )
}
