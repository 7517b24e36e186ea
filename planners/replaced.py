"""What is said where a plan takes the place of another one, so that no decision is lost without a word."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from balrsam_pipeline.plan import Plan
from balrsam_pipeline.printable import listed
from balrsam_pipeline.serialise import compact_json, to_json

LOG = logging.getLogger(__name__)
SHOWN, LONGEST = 5, 60  # what differs; characters of a value


def made_for(plan: Plan) -> str:
    """What a plan was made for, and what a user decided of it."""
    memory = plan.gpu_memory_gb
    machine = "a CPU" if memory == 0 else f"a GPU of {memory:g} GB" if memory else "an unknown machine"
    return f"made for {machine}" + (f" with {plan.decisions()}" if plan.overrides else "")


def tell_replaced(path: Path, before: Plan, plan: Plan) -> None:
    """Say what the plan in `path` was that `plan` replaces: what it was made for, or where that is the same,
    as of a file that was edited by hand, which values differ."""
    if made_for(before) != made_for(plan):
        LOG.warning(
            "%s: replaced; the plan before was %s, this one is %s. To have it back, give its options again; "
            "to have both, plan one under a name: --plan NAME",
            path,
            made_for(before),
            made_for(plan),
        )
    elif found := differences(before, plan):
        LOG.warning(
            "%s: replaced; the plan before, %s too, had %s. To have both, plan one under a name: --plan NAME",
            path,
            made_for(before),
            listed(found, SHOWN),
        )


def differences(before: Plan, plan: Plan) -> list[str]:
    """What is planned otherwise, apart from what follows from other data: `2d.batch_size 8 (now 12)`."""
    old, new = dict(_values(before)), dict(_values(plan))
    same_data = before.fingerprint_sha256 == plan.fingerprint_sha256
    statistics = same_data and before.channel_statistics != plan.channel_statistics
    changed = [name for name, value in old.items() if new.get(name) != value]
    lines = [f"{name} {_short(old[name])} (now {_short(new.get(name))})" for name in changed]
    return lines + (["other channel_statistics"] if statistics else [])


def _values(plan: Plan) -> Iterator[tuple[str, Any]]:
    """Every value of every configuration, with its name in plan.json."""
    for name, configuration in plan.configurations.items():
        values = to_json(configuration)
        network = values.pop("network")
        del values["reasons"]
        yield from ((f"{name}.{key}", value) for key, value in values.items())
        yield from ((f"{name}.network.{key}", value) for key, value in network.items())


def _short(value: object) -> str:
    text = "none" if value is None else compact_json(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
