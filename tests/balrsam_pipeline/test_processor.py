"""Cores of this process and of others, from what the system says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from balrsam_pipeline import processor
from balrsam_pipeline.processor import OtherWork, usable_cores

CPU = "cpu  {user} 0 0 {idle} 50 0 0 0 0 0\ncpu0 1 1 1 1\n"


@pytest.mark.parametrize(("quota", "cores"), [("150000 100000", 2), ("50000 100000", 1), ("max 100000", 8)])
def test_a_container_gives_no_more_cores_than_its_quota(
    quota: str, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(processor, "QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert usable_cores() == cores


@pytest.mark.parametrize(("quota", "cores"), [("250000", 3), ("-1", 8)])
def test_cgroup_v1_quotas_are_followed_too(
    quota: str, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in (("quota", quota), ("period", "100000")):
        (tmp_path / name).write_text(text + "\n")
    monkeypatch.setattr(processor, "QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(processor, "OLD_QUOTA", (tmp_path / "quota", tmp_path / "period"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert usable_cores() == cores


def test_what_all_cores_worked_less_what_we_did_is_what_others_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks, now, own = os.sysconf("SC_CLK_TCK"), [0.0], [0.0]
    monkeypatch.setattr(processor, "ALL_WORK", tmp_path / "stat")
    monkeypatch.setattr(processor.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(os, "times", lambda: (own[0], 0.0, 0.0, 0.0, 0.0))
    (tmp_path / "stat").write_text(CPU.format(user=100 * ticks, idle=0))
    work = OtherWork()
    now[0], own[0] = 10.0, 12.0
    (tmp_path / "stat").write_text(CPU.format(user=127 * ticks, idle=500))
    assert work.cores() == pytest.approx(1.5)
    assert work.cores() is None  # no time has passed


def test_where_the_system_says_nothing_nothing_is_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "ALL_WORK", tmp_path / "none")
    monkeypatch.setattr(processor, "QUOTA", tmp_path / "none")
    assert OtherWork().cores() is None
    assert usable_cores() >= 1
