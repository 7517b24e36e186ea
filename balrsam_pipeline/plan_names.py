"""What plans and models are called. A dataset's first plan has no name, others have: of the plan `wide` the
model of configuration `2d` is called `2d__wide`, that of the unnamed plan `2d`."""

from __future__ import annotations

import argparse
import re

JOINT = "__"
RECOMMENDED = "recommended"  # in place of configurations: the plan's default and its companions
UNNAMED = ""
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]|_(?!_))*(?<!_)")
LONGEST = 60


def plan_name(word: str) -> str:
    """A name that a plan may have, which becomes part of folder names; "" is that of the unnamed one.

    Raises:
        ArgumentTypeError: it may not.

    Example:
        >>> plan_name("wide")
        'wide'
    """
    if word != UNNAMED and (_NAME.fullmatch(word) is None or len(word) > LONGEST):
        raise argparse.ArgumentTypeError(
            f"'{word}' is no name for a plan: letters, digits, '.', '-' and single '_', {LONGEST} at most"
        )
    return word


def model_name(configuration: str, plan: str = UNNAMED) -> str:
    """The name of a plan's configuration among all that a dataset has; of a name of that kind, itself.

    Example:
        >>> model_name("2d"), model_name("2d", "wide"), model_name("2d__wide", "wide")
        ('2d', '2d__wide', '2d__wide')
    """
    return configuration if not plan or JOINT in configuration else f"{configuration}{JOINT}{plan}"


def parts_of(name: str) -> tuple[str, str]:
    """The configuration and the plan of a model's name.

    Example:
        >>> parts_of("2d__wide"), parts_of("2.5d")
        (('2d', 'wide'), ('2.5d', ''))
    """
    configuration, _, plan = name.partition(JOINT)
    return configuration, plan


def option_of(override: str) -> str:
    """The option of planning with which a user makes a decision that plans record under this name.

    Example:
        >>> option_of("batch_size"), option_of("spacing_mm")
        ('--batch-size', '--spacing')
    """
    return "--" + override.removesuffix("_mm").replace("_", "-")


def words_of_model(name: str) -> str:
    """The options that name a model: configuration, and plan where it is not the unnamed one.

    Example:
        >>> words_of_model("2d__wide")
        '--configuration 2d --plan wide'
    """
    configuration, plan = parts_of(name)
    return f"--configuration {configuration}" + (f" --plan {plan}" if plan else "")
