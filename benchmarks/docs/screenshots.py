"""The pictures of the documentation: a terminal, the page of a run, a report, an overlay; of generated data.

usage: python -m benchmarks.docs.screenshots [--output docs/img] [--max-steps 150]

Makes the folder of pictures of docs/first_hour.md, converts it and runs it in a temporary folder (minutes on
two cores), and takes pictures on the way. Needs Chromium and chromedriver (Debian: apt-get install chromium
chromium-driver) and selenium.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from selenium import webdriver

from benchmarks.docs.screen import Screen, run_on_a_screen

ROOT = Path(__file__).resolve().parents[2]
DATASET = "Dataset001_Organs"
WIDTH, HEIGHT, COLOURS = 1100, 1400, 64  # CSS pixels of a page's picture, at most
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "img")
    parser.add_argument("--max-steps", type=int, default=150)
    arguments = parser.parse_args()
    output = arguments.output.resolve()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def balrsam(*words: str) -> None:
            command = [sys.executable, "-m", "balrsam_pipeline", *words]
            subprocess.run(command, cwd=folder, env=environment, check=True)

        balrsam("demo", "--pictures", "organs")
        words = ("--from", "pairs", "--labels", "organ=1", "--test-fraction", "0.2")
        balrsam("convert", "organs", DATASET, *words)
        steps = ("--max-steps", str(arguments.max_steps), "--threads", "1")
        terminal(
            folder, environment, output / "terminal.svg", ("--folds", "0", "1", *steps), arguments.max_steps
        )
        results = folder / "balrsam_data" / "results" / DATASET
        raw = folder / "balrsam_data" / "raw" / DATASET
        page(results / "index.html", output / "run_page.png")
        page(results / "predictions" / "evaluation" / "report.html", output / "report.png")
        balrsam(
            *("plot", str(results / "predictions"), str(raw / "labelsTs"), "--images", str(raw / "imagesTs")),
            *("-o", str(folder / "pictures"), "--worst", "1"),
        )
        shutil.copy(next((folder / "pictures").glob("*.png")), output / "overlay.png")


def terminal(
    folder: Path, environment: dict[str, str], path: Path, words: tuple[str, ...], steps: int
) -> None:
    """`balrsam run` on a terminal, pictured in the second half of its second fold."""
    pictures: list[str] = []

    def seen(screen: Screen) -> None:
        step = re.search(r"fold 1: .*step (\d+)", screen.last_line())
        if step and int(step[1]) > steps / 2 and not pictures:
            pictures[:] = [screen.picture(f"balrsam run {DATASET}")]

    command = [sys.executable, "-m", "balrsam_pipeline", "run", DATASET, *words]
    code = run_on_a_screen(command, folder, environment, seen)
    if code or not pictures:
        raise SystemExit(f"balrsam run ended with {code}, {len(pictures)} pictures of it")
    path.write_text(pictures[0], encoding="utf-8")


def page(source: Path, path: Path) -> None:
    """The upper part of a page in Chromium, in few colours, for the repository's sake."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for flag in (*FLAGS, f"--window-size={WIDTH},{HEIGHT}"):
        options.add_argument(flag)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        browser.get(source.resolve().as_uri())
        length = browser.execute_script("return document.documentElement.scrollHeight")
        browser.set_window_size(WIDTH, min(HEIGHT, length))
        browser.save_screenshot(str(path))
    finally:
        browser.quit()
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(COLOURS).save(path, optimize=True)


if __name__ == "__main__":
    main()
