"""The page of a run: it shows what is there, needs nothing else, and can be read small and in the dark."""

from __future__ import annotations

import re
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from support.old_folders import DATA

from balrsam_pipeline.cli import main
from balrsam_pipeline.paths import resolve_roots
from balrsam_pipeline.run import page_keeper
from balrsam_pipeline.run.page_keeper import page_kept, write_page
from balrsam_pipeline.run.request import RunRequest
from evaluation.run_page import write_run_page
from evaluation.run_page.curves import line_chart

NAME = "Dataset999_Demo"


@pytest.fixture
def request_(tmp_path: Path) -> RunRequest:
    """A fold that was trained and validated, without its checkpoint, which the page does not need."""
    shutil.copytree(DATA / "trained_0_1", tmp_path / "all")
    roots = resolve_roots(*(tmp_path / "all" / name for name in ("raw", "preprocessed", "results")))
    return RunRequest(dataset=roots.raw / NAME, roots=roots, configurations=("2d",))


def test_the_page_shows_data_plan_curves_and_cases(request_: RunRequest) -> None:
    page = write_run_page(request_).read_text(encoding="utf-8")
    for identifier in ("steps", "data", "plan", "model-0"):
        assert f"<section id='{identifier}'>" in page
    assert "quick validation Dice" in page and page.count("<polyline") >= 2
    assert "Worst cases" in page and page.count("data:image/jpeg") >= 4
    assert "http-equiv='refresh'" not in page, "nothing runs"
    assert "default-src 'none'" in page and "http://" not in page and "https://" not in page


def test_links_lead_to_files_that_are_there(request_: RunRequest) -> None:
    path = write_run_page(request_)
    links = re.findall(r"href='([^']+)'", path.read_text(encoding="utf-8"))
    assert all((path.parent / link).is_file() for link in links)


def test_a_dataset_of_which_nothing_was_done_has_a_page(request_: RunRequest) -> None:
    shutil.rmtree(request_.preprocessed)
    shutil.rmtree(request_.results)
    page = write_run_page(request_).read_text(encoding="utf-8")
    assert "prepare" in page and "<section id='plan'>" not in page


def test_names_cannot_become_markup(request_: RunRequest) -> None:
    evil = "<img src=x onerror=alert(1)>"
    assert evil not in str(line_chart({evil: [(0.0, 1.0)]}, evil, evil))


def test_it_is_written_anew_while_the_run_goes_on(
    request_: RunRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, three = [], threading.Event()

    def write(request: RunRequest) -> bool:
        written.append(request)
        if len(written) == 3:
            three.set()
        return True

    monkeypatch.setattr(page_keeper, "write_page", write)
    with page_kept(request_, every_s=0.01):
        assert three.wait(20)
    count = len(written)
    assert len(written) == count, "nothing is written afterwards"


def test_a_page_that_cannot_be_written_stops_nothing(request_: RunRequest) -> None:
    (request_.dataset / "dataset.json").write_text("{}")
    assert write_page(request_) is False


def test_the_command_prints_where_the_page_lies(
    request_: RunRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    roots = request_.roots
    words = [
        "--raw",
        str(roots.raw),
        "--preprocessed",
        str(roots.preprocessed),
        "--results",
        str(roots.results),
    ]
    assert main(["page", NAME, *map(str, words)]) == 0
    assert capsys.readouterr().out.strip().endswith("index.html")


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_in_a_browser(request_: RunRequest, browser: Any, width: int, scheme: str) -> None:
    browser.set_window_size(width, 900)
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
    )
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    browser.get(write_run_page(request_).resolve().as_uri())
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    loaded = "return [...document.images].every((image) => image.complete && image.naturalWidth > 0)"
    assert browser.execute_script(loaded)
    shade = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, re.findall(r"\d+", shade)[:3])) / 3
    assert (brightness > 128) == (scheme == "light")
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
