from __future__ import annotations

import contextlib
import errno
import subprocess
import sys

import pytest

from balrsam_pipeline import __version__
from balrsam_pipeline.cli import COMMANDS, main
from balrsam_pipeline.command import BEGINS_ANEW, CONTINUES, Command, load_command


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_shows_an_example_and_imports_nothing_heavy(name: str) -> None:
    """Help answers at once because neither torch nor numpy nor pandas is loaded for it."""
    program = (
        "import sys\nfrom balrsam_pipeline.cli import main\n"
        f"try:\n    main([{name!r}, '--help'])\nexcept SystemExit as end:\n    code = end.code\n"
        "print('heavy:', sorted({'torch', 'numpy', 'pandas', 'SimpleITK', 'scipy'} & set(sys.modules)), code)"
    )
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert f"balrsam {name}" in output
    assert "example:" in output
    assert output.strip().endswith("heavy: [] 0")


def test_the_overview_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    output = capsys.readouterr().out
    assert all(f"  {name} " in output for name in COMMANDS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


def test_an_unknown_command_is_refused_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian"]) == 2
    assert "train" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["\x1b[2Jevil"], ["evaluate", "a", "b", "\x1b[2Jevil"], ["\x9b2J\nevil"]])
def test_arguments_do_not_act_on_the_terminal(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(SystemExit):
        main(words)
    told = capsys.readouterr().err
    assert "evil" in told and not {"\x1b", "\x9b"} & set(told)
    assert "\\x1b[2Jevil" in told or "\\x9b2J\\nevil" in told


@pytest.mark.parametrize(
    ("problem", "code", "told"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "results/x"),
            2,
            ["results/x", "free some space", "run the same command again"],
        ),
        (PermissionError(errno.EACCES, "Permission denied", "raw/x"), 2, ["raw/x", "permissions"]),
        (KeyboardInterrupt(), 130, ["interrupted", "continues"]),
    ],
)
def test_a_full_disk_and_an_interruption_are_told_without_a_traceback(
    problem: BaseException,
    code: int,
    told: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(_: object) -> int:
        raise problem

    command = Command(summary="", example="", add_arguments=lambda parser: None, run=fail)
    monkeypatch.setattr("balrsam_pipeline.cli.load_command", lambda name: command)
    assert main(["run"]) == code
    message = capsys.readouterr().err
    assert [word for word in told if word not in message] == []


@pytest.mark.parametrize(
    ("again", "told"),
    [(CONTINUES, "it continues"), (BEGINS_ANEW, "it begins anew"), ("try --continue", "try --continue")],
)
@pytest.mark.parametrize("problem", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_what_becomes_of_the_work_is_told_of_each_command(
    problem: BaseException,
    again: str,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(_: object) -> int:
        raise problem

    command = Command(summary="", example="", add_arguments=lambda parser: None, run=fail, again=again)
    monkeypatch.setattr("balrsam_pipeline.cli.load_command", lambda name: command)
    main(["predict"])
    assert told in capsys.readouterr().err


def test_predict_continues_with_its_option_alone_and_ensembles_begin_anew() -> None:
    assert "with --continue" in load_command("predict").again
    assert load_command("ensemble").again == BEGINS_ANEW
    assert load_command("train").again == CONTINUES


def test_an_unknown_dataset_is_one_message_and_exit_code_two(
    tmp_path, capsys: pytest.CaptureFixture[str]
) -> None:  # type: ignore[no-untyped-def]
    assert main(["run", "Dataset123_Nowhere", "--raw", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert "Dataset123_Nowhere" in message
    assert all(word in message for word in ("found:", "expected:", "fix:"))
    assert "Traceback" not in message
    assert list(tmp_path.iterdir()) == []
