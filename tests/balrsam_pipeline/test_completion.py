"""What a shell offers after the script that `balrsam completion` prints."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from balrsam_pipeline.cli import COMMANDS
from balrsam_pipeline.completion import script


def offered(*words: str) -> set[str]:
    """What bash offers when the last of `words` is completed."""
    typed = " ".join(f"'{word}'" for word in words)
    program = f"{script('bash')}\nCOMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}; _balrsam\n"
    done = subprocess.run(
        ["bash", "-c", program + 'printf "%s\\n" "${COMPREPLY[@]}"'],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_bash_offers_commands_options_and_choices() -> None:
    assert offered("balrsam", "") == set(COMMANDS)
    assert offered("balrsam", "tr") == {"train"}
    assert {"--fold", "--freeze"} == offered("balrsam", "train", "4", "--f")
    assert offered("balrsam", "train", "4", "--freeze", "") == {"nothing", "encoder", "decoder"}
    assert offered("balrsam", "train", "4") == set()  # then files


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_read_their_scripts(shell: str) -> None:
    text = script(shell)
    assert "--max-steps" in text or "max-steps" in text
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=text, text=True, check=True)
