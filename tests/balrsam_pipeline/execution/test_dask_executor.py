"""Cases on a real Dask cluster on loopback: the same outcomes as here, through lost workers, stalls and a
lost scheduler."""

from __future__ import annotations

import importlib.util
import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from balrsam_pipeline.cli import main
from balrsam_pipeline.errors import ClusterError, PreprocessingError, UsageError
from balrsam_pipeline.execution import ClusterOptions, ExecutionOptions, dask_worker, open_executor, run_cases

pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")
from support.clusters import dask_cluster, make_certificates, wait_for_workers
from support.faulty import die_if_one, die_once, sleep_if_one, square


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The scheduler file of a cluster of two workers."""
    with dask_cluster(tmp_path_factory.mktemp("cluster")) as file:
        wait_for_workers(file, 2)
        yield file


def on(file: Path, case_timeout_s: float | None = None) -> ExecutionOptions:
    cluster = ClusterOptions(address=str(file), wait_s=300)  # nannies replace workers at their leisure
    return ExecutionOptions(cluster=cluster, case_timeout_s=case_timeout_s)


def test_a_cluster_gives_the_outcomes_that_run_cases_gives_here(cluster: Path) -> None:
    items = {str(n): n for n in range(30)}
    here = {o.case: (o.value, str(o.error)) for o in run_cases(square, items, None, 1, PreprocessingError)}
    with open_executor(on(cluster)) as executor:
        there = {
            o.case: (o.value, str(o.error)) for o in run_cases(square, items, executor, 1, PreprocessingError)
        }
    assert there == here
    assert "ValueError: three" in there["3"][1]


def test_a_case_whose_worker_dies_once_succeeds_on_another(cluster: Path, tmp_path: Path) -> None:
    with open_executor(on(cluster)) as executor:
        outcomes = {
            o.case: o.value
            for o in run_cases(die_once, {str(n): (n, tmp_path) for n in range(8)}, executor, 1)
        }
    assert outcomes == {str(n): n for n in range(8)}


def test_a_case_that_kills_every_worker_is_named_and_all_others_finish(cluster: Path) -> None:
    with open_executor(on(cluster)) as executor:
        outcomes = {
            o.case: o
            for o in run_cases(
                die_if_one, {f"case_{n}": n for n in range(10)}, executor, 1, PreprocessingError
            )
        }
    assert {case for case, o in outcomes.items() if o.error is not None} == {"case_1"}
    assert len(outcomes) == 10
    assert "worker process died" in str(outcomes["case_1"].error)


def test_a_stalled_case_is_named_with_its_stack_and_its_worker_replaced(cluster: Path) -> None:
    with open_executor(on(cluster, case_timeout_s=5)) as executor:
        outcomes = {
            o.case: o for o in run_cases(sleep_if_one, {f"case_{n}": n for n in range(6)}, executor, 1)
        }
    assert {case for case, o in outcomes.items() if o.error is not None} == {"case_1"}
    assert "not done after 5 s" in str(outcomes["case_1"].error)
    assert "in sleep_if_one" in str(outcomes["case_1"].error)
    until = time.monotonic() + 60
    while "a case was given up" not in "".join(
        log.read_text() for log in cluster.parent.glob("worker-*.log")
    ):
        assert time.monotonic() < until, "the worker was not restarted"
        time.sleep(0.2)


def test_a_folder_that_workers_do_not_see_is_an_error_before_any_work(
    cluster: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "is_dir", lambda path: True)  # here it is, there it is not
    with (
        pytest.raises(ClusterError, match=r"no folder .*/only-here"),
        open_executor(on(cluster), (tmp_path / "only-here",)),
    ):
        pass


def test_workers_with_other_versions_are_refused(cluster: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        dask_worker, "COMPARED", ("imaginary",)
    )  # here alone: the workers have the module as it is
    dask_worker.versions_here.cache_clear()
    try:
        with pytest.raises(ClusterError, match=r"worker tcp://.*\n.*imaginary"), open_executor(on(cluster)):
            pass
    finally:
        dask_worker.versions_here.cache_clear()
    assert dask_worker.differences({"a": "1", "b": "2"}, {"a": "1", "b": "3"}) == "b 3 (here: 2)"


def test_tls_works_and_nobody_gets_in_without_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ca, certificate, key = make_certificates(tmp_path)
    (tmp_path / "other").mkdir()
    strangers = make_certificates(tmp_path / "other")
    files = ("--tls-ca-file", str(ca), "--tls-cert", str(certificate), "--tls-key", str(key))
    with (
        dask_cluster(tmp_path, workers=1, scheduler=("--protocol", "tls", *files), worker=files) as file,
        caplog.at_level(logging.DEBUG),
    ):
        address = json.loads(file.read_text())["address"]
        assert address.startswith("tls://")
        ours = ClusterOptions(address=address, tls_ca=ca, tls_cert=certificate, tls_key=key)
        with open_executor(ExecutionOptions(cluster=ours)) as executor:
            assert [o.value for o in run_cases(square, {"a": 7}, executor, 1)] == [49]
        for refused in (
            ClusterOptions(address=address.replace("tls://", "tcp://")),
            ClusterOptions(address=address, tls_ca=strangers[0], tls_cert=strangers[1], tls_key=strangers[2]),
            ClusterOptions(address=address, tls_ca=ca, tls_cert=strangers[1], tls_key=strangers[2]),
        ):
            with pytest.raises(ClusterError), open_executor(ExecutionOptions(cluster=refused)):
                pass
    secret = "".join(key.read_text().splitlines()[1:3])
    logged = caplog.text + "".join(log.read_text() for log in tmp_path.glob("*.log"))
    assert secret[:40] not in logged


@pytest.mark.parametrize(
    ("address", "said"), [("tcp://127.0.0.1:1", "Connection refused"), ("nowhere.json", "no such file")]
)
def test_a_missing_scheduler_is_a_message_within_seconds(address: str, said: str) -> None:
    import distributed  # its import is not what is timed

    assert distributed
    started = time.monotonic()
    with (
        pytest.raises(ClusterError, match=said),
        open_executor(ExecutionOptions(cluster=ClusterOptions(address=address))),
    ):
        pass
    assert time.monotonic() - started < 20


def test_a_command_with_a_cluster_that_is_none_ends_with_a_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.nii.gz").touch()
    words = ["evaluate", str(tmp_path), str(tmp_path), "--labels", str(_labels(tmp_path))]
    assert main([*words, "--cluster", "nonsense"]) == 2
    assert "tcp://HOST:PORT" in capsys.readouterr().err
    assert main([*words, "--cluster", "tcp://127.0.0.1:1"]) == 2
    assert "Connection refused" in capsys.readouterr().err


def test_tls_files_go_with_tls_alone(tmp_path: Path) -> None:
    pem = tmp_path / "x.pem"
    pem.touch()
    for wrong in (
        {"tls_ca": pem},
        {"tls_key": pem},
        {"tls_ca": pem, "tls_cert": pem},
        {"tls_ca": tmp_path / "no.pem", "tls_cert": pem},
    ):
        with pytest.raises(UsageError):
            ClusterOptions(address="tcp://127.0.0.1:8786", **wrong)
    assert ClusterOptions(address="tls://127.0.0.1:8786", tls_ca=pem, tls_cert=pem).tls_key is None


def test_without_the_extra_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ClusterError, match=r"pip install .*'\.\[cluster\]'"):  # noqa: SIM117
        with open_executor(ExecutionOptions(cluster=ClusterOptions(address="tcp://127.0.0.1:8786"))):
            pass


def test_an_attached_command_ends_when_its_starter_is_killed(tmp_path: Path) -> None:
    child = "import os, pathlib, signal, sys, time\n"
    child += (
        f"signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path({str(tmp_path / 'saved')!r}).touch(), "
        "sys.exit(75)))\n"
    )
    child += f"pathlib.Path({str(tmp_path / 'started')!r}).write_text(str(os.getpid())); time.sleep(60)"
    starter = "import subprocess, sys, time\n"
    starter += (
        "subprocess.Popen([sys.executable, '-m', 'balrsam_pipeline.execution.supervise', "
        f"sys.executable, '-c', {child!r}],"
    )
    starter += " stdin=subprocess.PIPE); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", starter])
    _until((tmp_path / "started").is_file)
    assert process.poll() is None
    process.kill()
    process.wait()
    _until((tmp_path / "saved").is_file)


def _until(holds: object, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.05)


def _labels(folder: Path) -> Path:
    path = folder / "dataset.json"
    content = {
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0, "organ": 1},
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }
    path.write_text(json.dumps(content))
    return path
