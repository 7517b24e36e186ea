from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from multiprocessing import forkserver, resource_tracker

import numpy as np
import pytest

from balrsam_pipeline.errors import TrainingError
from trainers.config import TrainingConfig
from trainers.data.loader import BatchSource, InlineLoader
from trainers.data.loader_size import LoaderSize
from trainers.data.patches import PatchReader
from trainers.data.sampling import Sampler, SamplingCase
from trainers.data.workers import WorkerLoader


@pytest.fixture
def make_source(make_store, make_configuration):
    def make(rank=0, world_size=1, batch_size=3):
        store, configuration, config = make_store(), make_configuration(), TrainingConfig(steps_per_epoch=4)
        cases = tuple(SamplingCase(case=case, shape_zyx=store.shape(case)) for case in store.cases)
        reader = PatchReader(store, configuration, config.augmentation)
        return BatchSource(
            Sampler(cases, store.foreground, configuration, config), reader, batch_size, rank, world_size
        )

    return make


def take(loader, first, count):
    batches = loader.batches(first)
    return [next(batches) for _ in range(count)]


def check_equal(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one.image_bchw, other.image_bchw)
        np.testing.assert_array_equal(one.label_bhw, other.label_bhw)
        np.testing.assert_array_equal(one.seeds, other.seeds)


def test_an_epoch_does_not_repeat_the_one_before(make_source):
    source = make_source()
    assert source.samples(0) != source.samples(4)
    assert "case_" in source.describe(0)


@pytest.mark.parametrize(("workers", "ahead"), [(1, 2), (2, 1), (4, 2)])
def test_any_number_of_workers_gives_the_same_batches(make_source, workers, ahead):
    expected = take(InlineLoader(make_source()), 3, 7)
    loader = WorkerLoader(make_source(), LoaderSize(workers=workers, ahead=ahead))
    try:
        check_equal(take(loader, 3, 7), expected)
    finally:
        loader.close()


def test_ranks_share_a_batch_without_overlap_even_where_it_does_not_divide(make_source):
    whole = make_source(batch_size=5).samples(2)
    shares = [make_source(rank, 2, 5).samples(2) for rank in (0, 1)]
    assert sorted(map(len, shares)) == [2, 3]
    assert shares[0] == whole[::2] and shares[1] == whole[1::2]


def test_a_killed_worker_ends_with_the_case_and_the_signal(make_source):
    loader = WorkerLoader(make_source(), LoaderSize(workers=1))
    try:
        batches = loader.batches(0)
        next(batches)
        os.kill(loader._workers[0].process.pid, signal.SIGKILL)
        with pytest.raises(TrainingError, match="SIGKILL"):
            for _ in range(5):
                next(batches)
    finally:
        loader.close()


def test_a_lost_worker_is_replaced_where_that_is_wanted_and_batches_stay_the_same(make_source):
    expected = take(InlineLoader(make_source()), 0, 9)
    loader = WorkerLoader(make_source(), LoaderSize(workers=2), replace_lost=True)
    try:
        batches = loader.batches(0)
        got = [next(batches)]
        for number in range(8):
            if number in (1, 4):
                os.kill(loader._workers[number % 2].process.pid, signal.SIGKILL)
            got.append(next(batches))
        check_equal(got, expected)
    finally:
        loader.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_signals_that_ask_to_stop_do_not_end_workers_nor_what_they_are_forked_by(make_source, number):
    """A signal to the process group reaches them too, and the training wants batches until it has saved."""
    expected = take(InlineLoader(make_source()), 0, 9)
    loader = WorkerLoader(make_source(), LoaderSize(workers=2))
    try:
        helpers = forkserver._forkserver._forkserver_pid, resource_tracker._resource_tracker._pid
        for pid in (*helpers, *(worker.process.pid for worker in loader._workers)):
            os.kill(pid, number)
        check_equal(take(loader, 0, 9), expected)
    finally:
        loader.close()


def test_workers_that_hang_are_ended_too(make_source):
    loader = WorkerLoader(make_source(), LoaderSize(workers=1))
    take(loader, 0, 1)
    process = loader._workers[0].process
    os.kill(process.pid, signal.SIGSTOP)
    began = time.monotonic()
    loader.close()
    assert not process.is_alive() and time.monotonic() - began < 30


def test_a_case_that_cannot_be_read_is_named(make_source):
    source = make_source()
    del source.reader._source.images["case_b"]
    loader = WorkerLoader(source, LoaderSize(workers=1))
    try:
        with pytest.raises(TrainingError, match="case_b"):
            take(loader, 0, 20)
    finally:
        loader.close()


LEAVES = """
import torch
from trainers.check_machine.subject import generated_subject
if __name__ == "__main__":
    loader = generated_subject(torch.device("cpu"), None).loader(2)
    raise SystemExit(3)
"""


def test_a_process_that_ends_without_closing_its_loader_ends(tmp_path):
    """Its workers ignore SIGTERM, with which multiprocessing asks them to end before it waits for them."""
    script = tmp_path / "leaves.py"
    script.write_text(LEAVES)
    assert subprocess.run([sys.executable, script], timeout=60).returncode == 3
