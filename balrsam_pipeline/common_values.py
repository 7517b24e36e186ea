"""Equal values kept once: of 100,000 cases most have the shape, the spacing and the labels of others."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Facts = TypeVar("Facts", bound="DataclassInstance")


class CommonValues:
    """The values of fields that were met."""

    def __init__(self) -> None:
        """Begin with none."""
        self._met: defaultdict[str, dict[Any, Any]] = defaultdict(dict)

    def shared(self, facts: Facts, *fields: str) -> Facts:
        """The same facts, in which these fields are the very objects of earlier ones that had equal values.

        Args:
            fields: of values that can be hashed.
        """
        values = {field: getattr(facts, field) for field in fields}
        return replace(
            facts, **{field: self._met[field].setdefault(value, value) for field, value in values.items()}
        )
