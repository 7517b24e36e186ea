from __future__ import annotations

from trainers.loggers.jsonl import JsonlLogger, read_log
from trainers.loggers.progress_png import draw_progress


def record(step):
    return {
        "event": "epoch",
        "epoch": step,
        "step": step,
        "loss": 1.0,
        "quick_dice": 0.5,
        "learning_rate": 0.1,
    }


def test_a_resumed_log_holds_what_the_checkpoint_knew_and_no_more(tmp_path):
    path = tmp_path / "log.jsonl"
    logger = JsonlLogger(path, 0)
    for step in (1, 2, 3):
        logger.log(record(step))
    with path.open("a") as file:
        file.write('{"event": "epo')  # a kill in the middle of a line
    JsonlLogger(path, 2).log(record(3))
    assert [entry["step"] for entry in read_log(path)] == [1, 2, 3]


def test_the_progress_picture_is_a_png(tmp_path):
    draw_progress([record(1), record(2)], tmp_path / "progress.png")
    assert (tmp_path / "progress.png").read_bytes().startswith(b"\x89PNG")
