"""What users of nnU-Net type, in the words of this command line."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from itertools import pairwise

from balrsam_pipeline.folds import ALL

# command -> nnU-Net's option -> ours; "" stands before the dataset, which is a word of its own here
OPTIONS: Mapping[str, Mapping[str, str]] = {
    "plan_and_preprocess": {
        "-d": "",
        "-c": "--configurations",
        "-np": "--workers",
        "-overwrite_plans_name": "--plan",
        "-gpu_memory_target": "--gpu-memory-gb",
    },
    "train": {
        "-d": "",
        "-c": "--configuration",
        "-f": "--fold",
        "-p": "--plan",
        "-device": "--device",
        "-pretrained_weights": "--init-from",
        "--val": "--only-validate",
        "--val_best": "--only-validate --checkpoint best",
    },
    "crossval": {"-d": "", "-c": "--configuration", "-f": "--folds", "-p": "--plan", "-device": "--device"},
    "run": {"-d": "", "-c": "--configurations", "-f": "--folds", "-p": "--plan", "-device": "--device"},
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
        "-p": "--plan",
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
DROPPED_WITH_VALUE = frozenset({"-tr", "-pl", "-npp", "-nps", "-num_gpus"})
DROPPED = frozenset({"--npz", "--c", "--verify_dataset_integrity", "--clean", "--verbose"})
USUAL_PLAN = "nnUNetPlans"  # is unnamed here
CHECKPOINTS = {"checkpoint_final.pth": "final", "checkpoint_best.pth": "best"}
FLAGS = frozenset({"--no-ensembles", "--save-probabilities", "--no-mirror", "--continue"})
COMPARING = ("crossval", "find_best_configuration")  # commands that need validations, which fold all has not


def in_our_words(command: str, words: Sequence[str]) -> str | None:
    """The command that somebody who typed nnU-Net's words means; None where there are none of these.

    Example:
        >>> in_our_words("train", ["4", "2d", "all", "--npz"])
        'balrsam train 4 --configuration 2d --fold all'
        >>> in_our_words("predict", ["-i", "in", "-o", "out", "-d", "4", "-c", "2d", "-f", "all"])
        'balrsam predict -i in -o out -d 4 --configuration 2d --folds all'
        >>> in_our_words("train", ["4", "--fold", "0"]) is None
        True
    """
    if command not in OPTIONS:
        return None
    ours = _placed(command, _renamed(command, words))
    if command in COMPARING:
        ours = _without_all(ours)
    return None if ours == list(words) else shlex.join(["balrsam", command, *ours])


def _renamed(command: str, words: Sequence[str]) -> list[str]:
    """The words with options renamed, and those left out that have no counterpart."""
    names, ours, skip = OPTIONS[command], [], False
    dataset: list[str] = []
    for index, word in enumerate(words):
        if skip:
            skip = False
        elif word in DROPPED_WITH_VALUE or _is_unnamed_plan(command, words[index : index + 2]):
            skip = True
        elif names.get(word) == "":
            dataset, skip = list(words[index + 1 : index + 2]), True
        elif word not in DROPPED:
            ours += names[word].split() if word in names else [CHECKPOINTS.get(word, word)]
    return [*dataset, *ours]


def _is_unnamed_plan(command: str, pair: Sequence[str]) -> bool:
    """Whether a plan is named that has no name here, or where all plans are compared anyway."""
    named = pair[0] in ("-p", "-overwrite_plans_name")
    return named and (pair[0] not in OPTIONS[command] or list(pair[1:]) == [USUAL_PLAN])


def _placed(command: str, words: Sequence[str]) -> list[str]:
    """The words with options before those that nnU-Net knows by their place: `train 4 2d 0`."""
    places = PLACES.get(command, ())
    leading = next((index for index, word in enumerate(words) if word.startswith("-")), len(words))
    extra = list(words[1:leading])
    if not places or not extra or len(extra) > len(places):
        return list(words)
    placed = [part for name, word in zip(places, extra, strict=False) for part in (name, word)]
    return [words[0], *placed, *words[leading:]]


def _without_all(words: list[str]) -> list[str]:
    """Without `--folds all`: every fold is what is taken where none is named."""
    pairs = list(pairwise(words))
    if ("--folds", ALL) not in pairs:
        return words
    at = pairs.index(("--folds", ALL))
    return words[:at] + words[at + 2 :]
