"""Fixtures that all tests share."""

from __future__ import annotations

import locale
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.warm import WarmPython

REPOSITORY = Path(__file__).resolve().parent.parent
# what worker processes of tests import one by one otherwise, several seconds of a processor each
IN_WORKERS = ["trainers.data.workers", "balrsam_pipeline.inference.predict_cases", "evaluation.scoring"]
LONGEST_FIRST = (
    "tests/end_to_end/test_chaos.py",
    "tests/end_to_end/test_kinds_of_data.py",
    "tests/trainers/test_processes.py",
    "tests/trainers/test_fold.py",
    "tests/balrsam_pipeline/network/test_step_memory.py",
    "tests/docs/test_first_hour.py",
    "tests/end_to_end/test_cluster_commands.py",
    "tests/docs/test_page_commands.py",
    "tests/end_to_end/test_never_silent.py",
    "tests/balrsam_pipeline/network/test_tiny_vit.py",
    "tests/balrsam_pipeline/network/test_tiny_vit_parity.py",
    "tests/end_to_end/test_kill_table.py",
    "tests/docs/test_python_examples.py",
    "tests/end_to_end/test_graph.py",
    "tests/balrsam_pipeline/inference/test_predict_command.py",
    "tests/end_to_end/test_demo_job.py",
    "tests/end_to_end/test_elsewhere.py",
    "tests/balrsam_pipeline/execution/test_dask_executor.py",
    "tests/balrsam_pipeline/network/test_model.py",
    "tests/balrsam_pipeline/network/test_parity.py",
    "tests/end_to_end/test_stopping.py",
    "tests/trainers/test_check_machine.py",
)


def pytest_configure(config: pytest.Config) -> None:
    """Tests and the commands that they start compute with one thread.

    Training chooses its threads by how busy the machine is, and weights are compared to the bit. Where many
    tests run at a time, threads of one step also wait for each other: small networks took ten times as long.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
    if getattr(config.option, "loadscopereorder", False):
        config.option.loadscopereorder = False  # the order below, not the number of tests in a module
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        return  # the tests run in other processes
    import torch

    from balrsam_pipeline.execution.executors import preload

    torch.set_num_threads(1)
    preload(IN_WORKERS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules that take longest come first: the last ones are short, and no processor waits for another."""
    place = {name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: place.get(item.nodeid.partition("::")[0], len(place)))


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real data: `BALRSAM_TEST_DATA`, else ../shared/data beside the repository."""
    folder = Path(os.environ.get("BALRSAM_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "raw").is_dir():
        pytest.skip(f"no real data in {folder} (set BALRSAM_TEST_DATA)")
    return folder


@pytest.fixture(scope="session")
def warm_python() -> Iterator[WarmPython]:
    """Where processes of `balrsam` come from that have everything imported already."""
    opened = WarmPython()
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def locale_is_kept() -> Iterator[None]:
    """Libraries that write DICOM set the C locale and leave it so; later tests would read pipes and files as
    ASCII."""
    before = locale.setlocale(locale.LC_ALL)
    yield
    locale.setlocale(locale.LC_ALL, before)
