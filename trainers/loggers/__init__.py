"""Where a training run writes what happens: log.jsonl, progress.png, TensorBoard, Weights & Biases."""

from trainers.loggers.boards import open_loggers
from trainers.loggers.jsonl import Logger, Loggers, read_log

__all__ = ["Logger", "Loggers", "open_loggers", "read_log"]
