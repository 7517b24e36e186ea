"""Want of memory is recognised in whatever words it comes, and nothing else is taken for it."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from balrsam_pipeline import cli, memory
from balrsam_pipeline.command import Command
from balrsam_pipeline.errors import DatasetError
from balrsam_pipeline.execution import run_cases
from balrsam_pipeline.memory import is_want_of_memory, usable_memory

WANTS = [
    MemoryError("Unable to allocate 7.45 GiB for an array"),
    RuntimeError("could not create a primitive"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("std::bad_alloc"),
    RuntimeError("can't start new thread"),
    ImportError("libtorch_cpu.so: failed to map segment from shared object"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
]
OTHERS = [RuntimeError("sizes differ"), OSError(errno.ENOENT, "gone"), ImportError("No module named 'x'")]
OTHERS.append(DatasetError("a", found="out of memory, he said", expected="b", fix="c"))  # type: ignore[arg-type]


@pytest.mark.parametrize("problem", WANTS, ids=str)
def test_want_of_memory_is_told_by_commands_and_for_single_cases(
    problem: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert is_want_of_memory(problem)

    def work(_: object) -> int:
        raise problem

    command = Command(summary="", example="", add_arguments=lambda parser: None, run=work)
    monkeypatch.setattr(cli, "load_command", lambda name: command)
    assert cli.main(["train"]) == 2
    said = capsys.readouterr().err
    assert "not enough memory" in said and "permissions" not in said
    (outcome,) = run_cases(work, {"a": 1}, None, 1, DatasetError)
    assert outcome.error is not None
    assert "not enough memory" in outcome.error.found and "verify" not in outcome.error.fix


@pytest.mark.parametrize("problem", OTHERS, ids=str)
def test_other_errors_are_not_taken_for_it(problem: Exception) -> None:
    assert not is_want_of_memory(problem)


@pytest.mark.parametrize(
    ("limits", "here", "without_sysconf"),
    [
        (("4096\n",), 4096, 4096),
        (("max\n",), 2**32, None),
        ((), 2**32, None),
        (("9223372036854771712",), 2**32, 9223372036854771712),  # cgroup v1: no limit
        (("max", "512"), 512, 512),
    ],
)
def test_a_container_has_the_memory_that_it_is_given(
    limits: tuple[str, ...],
    here: int,
    without_sysconf: int | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = [tmp_path / str(number) for number in range(2)]
    for file, text in zip(files, limits, strict=False):
        file.write_text(text)
    monkeypatch.setattr(memory, "LIMITS", tuple(files))
    monkeypatch.setattr(memory.os, "sysconf", {"SC_PHYS_PAGES": 2**20, "SC_PAGE_SIZE": 4096}.__getitem__)
    assert usable_memory() == here
    monkeypatch.delattr(memory.os, "sysconf")  # as on Windows
    assert usable_memory() == without_sysconf
