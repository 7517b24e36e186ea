"""Training as a user runs it, in processes of its own: killed at random moments, and spread over ranks."""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from balrsam_pipeline.files import write_json
from balrsam_pipeline.serialise import to_json
from trainers.checkpoints import CheckpointFolder, read_checkpoint
from trainers.fold import train_fold
from trainers.loggers.jsonl import read_log

EPOCHS = 12


def words_of(request, settings_file):
    write_json(settings_file, to_json(request.config))
    words = ["train", str(request.dataset), "--device", "cpu", "--workers", "0"]
    for name in ("raw", "preprocessed", "results"):
        words += [f"--{name}", str(getattr(request.roots, name))]
    words += ["--configuration", request.configuration] if request.configuration else []
    words += ["--checkpoint", str(request.base)] if request.base else []
    return [*words, "--settings", str(settings_file)]


def free_port():
    """A port that nobody listens at."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return str(place.getsockname()[1])


def launched(request, settings_file):
    """The command of two ranks."""
    launcher = ("torch.distributed.run", "--nproc-per-node", "2", "--master-port", free_port())
    return [sys.executable, "-m", *launcher, "-m", "balrsam_pipeline", *words_of(request, settings_file)]


def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def kill_after(process, said, log, records, delay_s):
    """Wait until the log of a training holds `records` lines and `delay_s` more, then kill -9, unless it has
    ended."""
    while process.poll() is None and len(read_log(log)) < records:
        time.sleep(0.02)
    time.sleep(delay_s)
    process.send_signal(signal.SIGKILL)
    assert process.wait() in (0, -signal.SIGKILL), said.read_text()


def check_killed_runs(make_request, warm_python, tmp_path, kills):
    request = make_request(epochs=EPOCHS)
    reference = dataclasses.replace(
        request, roots=dataclasses.replace(request.roots, results=tmp_path / "reference")
    )
    expected = train_fold(reference).folder
    folder = request.model_folder("2d") / "fold_0"
    words, moments = words_of(request, tmp_path / "settings.json"), random.Random(3)
    for number in range(kills):
        said, records = tmp_path / "said.txt", 1 + number * (EPOCHS - 2) // kills
        process = warm_python.start(words, said)
        kill_after(process, said, folder / "log.jsonl", records, moments.uniform(0, 0.4))
    done = warm_python.run(*words)
    assert done.returncode == 0, done.stderr
    for kind in ("final", "latest"):
        ours, theirs = (
            read_checkpoint(CheckpointFolder(place).path(kind)).tensors for place in (folder, expected)
        )
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert {path.name for path in folder.rglob("*")} == {path.name for path in expected.rglob("*")}
    assert [record["step"] for record in read_log(folder / "log.jsonl")] == list(range(2, 2 * EPOCHS + 1, 2))


def test_killed_at_random_moments_and_resumed_it_ends_with_the_same_bits_and_no_stray_files(
    make_request, warm_python, tmp_path
):
    check_killed_runs(make_request, warm_python, tmp_path, kills=3)


@pytest.mark.slow
def test_twenty_kills_change_nothing(make_request, warm_python, tmp_path):
    check_killed_runs(make_request, warm_python, tmp_path, kills=20)


@pytest.mark.parametrize(
    ("start", "configuration"),
    [
        ("make_request", "2d"),
        pytest.param("make_request", "3d", marks=pytest.mark.slow),
        pytest.param("adapt", "3d", marks=pytest.mark.slow),  # stacks of slices
    ],
)
def test_two_gloo_ranks_train_as_one_process_does(request, warm_python, tmp_path, start, configuration):
    make = request.getfixturevalue(start)
    request = dataclasses.replace(make(epochs=3, batch_size=3), configuration=configuration)
    alone = train_fold(request).folder
    shared = dataclasses.replace(
        request, roots=dataclasses.replace(request.roots, results=tmp_path / "shared")
    )
    words, said = words_of(shared, tmp_path / "settings.json"), tmp_path / "said.txt"
    meeting = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    ranks = [
        warm_python.start(
            words, said, environment={**meeting, "RANK": str(number), "LOCAL_RANK": str(number)}
        )
        for number in range(2)
    ]
    try:
        assert [rank.wait(timeout=300) for rank in ranks] == [0, 0], said.read_text()
    finally:
        for rank in ranks:
            rank.send_signal(signal.SIGKILL)
    folder = shared.model_folder(configuration) / "fold_0"
    ours, theirs = read_log(folder / "log.jsonl"), read_log(alone / "log.jsonl")
    assert [record["step"] for record in ours] == [record["step"] for record in theirs] == [2, 4, 6]
    for one, other in zip(ours, theirs, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-4)
    assert {path.name for path in folder.rglob("*")} == {path.name for path in alone.rglob("*")}


def test_ranks_that_a_scheduler_stops_save_and_ask_to_be_requeued(make_request, tmp_path):
    request = make_request(epochs=1000, batch_size=3)
    launcher = ("balrsam_pipeline.execution.launch", "--processes", "2", "--")
    words = [sys.executable, "-m", *launcher, *words_of(request, tmp_path / "settings.json")]
    folder = request.model_folder("2d") / "fold_0"
    with subprocess.Popen(
        words, stderr=subprocess.PIPE, text=True, env=environment(), start_new_session=True
    ) as process:
        while process.poll() is None and not read_log(folder / "log.jsonl"):
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGUSR1)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 75, errors
    last = read_log(folder / "log.jsonl")[-1]["step"]
    assert read_checkpoint(CheckpointFolder(folder).path("latest")).metadata["step"] >= last


def ranks_of(launcher_pid):
    """Process ids of the ranks that a launcher started, by rank."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((place / "stat").read_text().rsplit(")", 1)[1].split()[1])
            values = dict(
                item.split("=", 1) for item in (place / "environ").read_text().split("\0") if "=" in item
            )
        except OSError:
            continue
        if parent == launcher_pid and "RANK" in values:
            found[int(values["RANK"])] = int(place.name)
    return found


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="finds the ranks through /proc")
def test_a_dead_rank_ends_the_job_with_its_error_and_the_job_goes_on_from_there(make_request, tmp_path):
    request = make_request(epochs=14, batch_size=3)
    words = launched(request, tmp_path / "settings.json")
    log = request.model_folder("2d") / "fold_0" / "log.jsonl"
    with subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        while process.poll() is None and len(read_log(log)) < 2:
            time.sleep(0.01)
        os.kill(ranks_of(process.pid)[1], signal.SIGKILL)
        _, errors = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "SIGKILL" in errors, errors
    assert "another rank ended while this one waited" in errors, errors
    train_fold(request)
    assert [record["step"] for record in read_log(log)] == list(range(2, 29, 2))
