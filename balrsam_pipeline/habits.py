"""What users of nnU-Net type, in the words of this command line."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from itertools import pairwise

# command -> nnU-Net's option -> ours; "" stands before the dataset, which is a word of its own here
OPTIONS: Mapping[str, Mapping[str, str]] = {
    "plan_and_preprocess": {
        "-d": "",
        "-c": "--configurations",
        "-np": "--workers",
        "-gpu_memory_target": "--gpu-memory-gb",
    },
    "train": {
        "-d": "",
        "-c": "--configuration",
        "-f": "--fold",
        "-device": "--device",
        "-pretrained_weights": "--init-from",
    },
    "crossval": {"-d": "", "-c": "--configuration", "-f": "--folds", "-device": "--device"},
    "run": {"-d": "", "-c": "--configurations", "-f": "--folds", "-device": "--device"},
    "find_best_configuration": {
        "-d": "",
        "-c": "--configurations",
        "-f": "--folds",
        "-np": "--workers",
        "--disable_ensembling": "--no-ensembles",
    },
    "predict": {
        "-c": "--configuration",
        "-f": "--folds",
        "-device": "--device",
        "-chk": "--checkpoint",
        "-step_size": "--tile-step",
        "--save_probabilities": "--save-probabilities",
        "--disable_tta": "--no-mirror",
        "--continue_prediction": "--continue",
    },
}
PLACES = {"train": ("--configuration", "--fold"), "find_best_configuration": ()}
# what is chosen, done or known anyway; those of the first kind have a value
DROPPED_WITH_VALUE = frozenset({"-tr", "-p", "-pl", "-npp", "-nps", "-num_gpus", "-overwrite_plans_name"})
DROPPED = frozenset(
    {"--npz", "--c", "--val", "--val_best", "--verify_dataset_integrity", "--clean", "--verbose"}
)
CHECKPOINTS = {"checkpoint_final.pth": "final", "checkpoint_best.pth": "best"}
FLAGS = frozenset({"--no-ensembles", "--save-probabilities", "--no-mirror", "--continue"})
ALL = "all"


def in_our_words(command: str, words: Sequence[str]) -> str | None:
    """The command that somebody who typed nnU-Net's words means; None where there are none of these.

    Example:
        >>> in_our_words("train", ["4", "2d", "all", "--npz"])
        'balrsam crossval 4 --configuration 2d'
        >>> in_our_words("predict", ["-i", "in", "-o", "out", "-d", "4", "-c", "2d", "-f", "all"])
        'balrsam predict -i in -o out -d 4 --configuration 2d'
        >>> in_our_words("train", ["4", "--fold", "0"]) is None
        True
    """
    if command not in OPTIONS:
        return None
    ours = _placed(command, _renamed(command, words))
    if command == "train" and _is_all(ours, "--fold"):
        command = "crossval"  # every fold, and prediction averages them
    ours = _without_all(ours)
    return None if ours == list(words) else shlex.join(["balrsam", command, *ours])


def _renamed(command: str, words: Sequence[str]) -> list[str]:
    """The words with options renamed, and those left out that have no counterpart."""
    names, ours, skip = OPTIONS[command], [], False
    dataset: list[str] = []
    for index, word in enumerate(words):
        if skip:
            skip = False
        elif word in DROPPED_WITH_VALUE:
            skip = True
        elif names.get(word) == "":
            dataset, skip = list(words[index + 1 : index + 2]), True
        elif word not in DROPPED:
            ours.append(CHECKPOINTS.get(word, names.get(word, word)))
    return [*dataset, *ours]


def _placed(command: str, words: Sequence[str]) -> list[str]:
    """The words with options before those that nnU-Net knows by their place: `train 4 2d 0`."""
    places = PLACES.get(command, ())
    leading = next((index for index, word in enumerate(words) if word.startswith("-")), len(words))
    extra = list(words[1:leading])
    if not places or not extra or len(extra) > len(places):
        return list(words)
    placed = [part for name, word in zip(places, extra, strict=False) for part in (name, word)]
    return [words[0], *placed, *words[leading:]]


def _is_all(words: Sequence[str], option: str) -> bool:
    return any(pair == (option, ALL) for pair in pairwise(words))


def _without_all(words: list[str]) -> list[str]:
    """Without `--folds all`: all is what is taken where none is named."""
    for option in ("--fold", "--folds"):
        if _is_all(words, option):
            at = words.index(option)
            return words[:at] + words[at + 2 :]
    return words
