from __future__ import annotations

import argparse
import subprocess
import sys

import pytest

from balrsam_pipeline.errors import BalrsamError, UsageError
from trainers.cli import COMMANDS, _request
from trainers.config import LossConfig


def parse(prepared, command, *words):
    parser = argparse.ArgumentParser()
    COMMANDS[command].add_arguments(parser)
    roots = [
        word
        for name in ("raw", "preprocessed", "results")
        for word in (f"--{name}", str(getattr(prepared, name)))
    ]
    return parser.parse_args(["Dataset999_Demo", *words, *roots])


def test_a_time_budget_replaces_the_epochs_unless_both_are_given(prepared):
    assert _request(parse(prepared, "train", "--max-minutes", "5")).config.epochs is None
    both = _request(parse(prepared, "train", "--max-minutes", "5", "--epochs", "7")).config
    assert (both.epochs, both.max_minutes) == (7, 5.0)


@pytest.mark.parametrize(
    ("words", "minutes", "steps"), [("--max-minutes 5", 5.0, None), ("--max-steps 9", None, 9)]
)
def test_a_budget_of_the_settings_file_holds_beside_one_of_the_command_line(
    prepared, tmp_path, words, minutes, steps
):
    path = tmp_path / "settings.json"
    path.write_text('{"epochs": 7}')
    config = _request(parse(prepared, "train", "--settings", str(path), *words.split())).config
    assert (config.epochs, config.max_minutes, config.max_steps) == (7, minutes, steps)


def test_epochs_of_the_file_are_known_as_such_beside_a_budget_that_was_typed(prepared, tmp_path):
    """Earlier versions left them out there, and nowhere else."""
    path = tmp_path / "settings.json"
    path.write_text('{"epochs": 3, "max_minutes": 10}')
    words = ("train", "--settings", str(path))
    assert _request(parse(prepared, *words, "--max-minutes", "10")).epochs_of_settings
    assert not _request(parse(prepared, *words)).epochs_of_settings
    assert not _request(parse(prepared, *words, "--max-minutes", "10", "--epochs", "3")).epochs_of_settings


def test_options_win_over_the_settings_file(prepared, tmp_path):
    path = tmp_path / "settings.json"
    path.write_text('{"seed": 3, "learning_rate": 0.1, "loss": {"boundary": 0}}')
    config = _request(parse(prepared, "crossval", "--settings", str(path), "--seed", "4")).config
    assert (config.seed, config.learning_rate, config.loss) == (4, 0.1, LossConfig(boundary=0.0))


def test_a_fold_is_a_number_or_all_and_cross_validation_takes_numbers_alone(prepared, capsys):
    assert _request(parse(prepared, "train", "--fold", "all")).fold == "all"
    assert _request(parse(prepared, "train", "--fold", "3")).fold == 3
    with pytest.raises(SystemExit):
        parse(prepared, "crossval", "--folds", "all")
    assert "balrsam train DATASET --fold all" in capsys.readouterr().err


def test_with_only_validate_a_checkpoint_is_one_of_the_fold_s_and_else_a_file(prepared):
    only = _request(parse(prepared, "train", "--only-validate", "--checkpoint", "best"))
    assert (only.only_validate, only.weights, only.base) == (True, "best", None)
    named = _request(parse(prepared, "train", "--only-validate", "--checkpoint", "sam.pth"))
    assert (named.weights, str(named.base)) == ("final", "sam.pth")
    assert str(_request(parse(prepared, "train", "--checkpoint", "best")).base) == "best"


@pytest.mark.parametrize(
    "words", ["--threads 0", "--threads 99999999", "--workers -1", "--seed 99999999999999999999"]
)
def test_numbers_that_cannot_be_are_refused_before_anything_is_read(prepared, words):
    with pytest.raises(BalrsamError, match=words.split()[0].strip("-")) as refused:
        _request(parse(prepared, "train", *words.split()))
    assert refused.value.exit_code == 2
    _request(parse(prepared, "train", "--threads", "1", "--workers", "0", "--seed", str(2**64 - 1)))


@pytest.mark.parametrize("words", ["--device gpu", "--device cuda", "--device cuda:7", "--device mps"])
def test_a_device_that_is_not_here_is_refused(prepared, monkeypatch, words):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    with pytest.raises(UsageError, match=words.split()[1]):
        COMMANDS["train"].run(parse(prepared, "train", *words.split()))


def test_folds_are_not_trained_where_one_device_is_not_here(prepared, monkeypatch):
    monkeypatch.setattr("trainers.crossval.train_all_over_devices", lambda *_: pytest.fail("trained"))
    with pytest.raises(UsageError, match="device 'gpu'"):
        COMMANDS["crossval"].run(parse(prepared, "crossval", "--parallel-folds", "cpu", "gpu"))


@pytest.mark.parametrize("command", ["train", "crossval"])
def test_help_loads_nothing_heavy(command):
    program = (
        "import sys, contextlib, io\n"
        "from balrsam_pipeline.cli import main\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        f"    main(['{command}', '--help'])\n"
        "print([name for name in ('torch', 'numpy', 'pandas', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_request_written_as_a_command_line_is_that_request_again(prepared, tmp_path):
    """How a fold is handed to a process of its own loses nothing."""
    settings = tmp_path / "settings.json"
    settings.write_text('{"epochs": 7, "loss": {"dice": 2.0}}')
    options = (
        "--fold 3 --configuration 2d --device cpu --workers 0 --checkpoint sam.pth --init-from other "
        "--loggers wandb --accept-changed-settings --continue-on-worker-loss"
    )
    request = _request(parse(prepared, "train", "--settings", str(settings), *options.split()))
    name, *words = request.to_argv(settings)
    assert name == "train"
    parser = argparse.ArgumentParser()
    COMMANDS[name].add_arguments(parser)
    assert _request(parser.parse_args(words)) == request
