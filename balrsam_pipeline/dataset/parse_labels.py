"""The "labels" and "regions_class_order" of dataset.json, by nnU-Net v2's rules."""

from __future__ import annotations

from typing import Any

from balrsam_pipeline.dataset.labels import LabelScheme
from balrsam_pipeline.errors import DatasetError
from balrsam_pipeline.imageio.reading import LARGEST_LABEL
from balrsam_pipeline.whole_numbers import whole_number

EXAMPLE = '"labels": {"background": 0, "liver": 1, "tumour": 2}'


def parse_labels(dataset_json: dict[str, Any], where: object) -> LabelScheme:
    """Read labels, regions and the ignore label.

    A value that is a list of several numbers makes the dataset region-based; then `regions_class_order` says
    which value each region, in the order of "labels" without background and ignore, writes into the label
    map.

    Args:
        dataset_json: the content of dataset.json.
        where: its path, named in messages.

    Raises:
        DatasetError: no background, a value that is no whole number, an ignore label that is not the highest
            value plus one, or a `regions_class_order` that does not fit.

    Example:
        >>> labels = parse_labels({"labels": {"background": 0, "liver": 1, "ignore": 2}}, "dataset.json")
        >>> labels.names, labels.ignore_value, labels.classes
        (('liver',), 2, 2)
    """
    entries = _entries(dataset_json.get("labels"), where)
    ignore = entries.pop("ignore", None)
    if entries.pop("background", None) != (0,):
        raise _wrong(
            where,
            "no background, or background that is not 0",
            '"background": 0',
            f"write it first: {EXAMPLE}",
        )
    entries = {name: values for name, values in entries.items() if set(values) != {0}}
    if not entries:
        raise _wrong(
            where, "no label but background", "at least one label", f"name what is segmented: {EXAMPLE}"
        )
    largest = max(value for values in entries.values() for value in values)
    if ignore is not None and ignore != (largest + 1,):
        raise _wrong(
            where,
            f"ignore label {', '.join(map(str, ignore))}",
            f"{largest + 1}: the highest label plus one",
            "renumber the ignore label in dataset.json and in the label files",
        )
    has_regions = any(len(values) > 1 for values in entries.values())
    ordered = entries if has_regions else dict(sorted(entries.items(), key=lambda entry: entry[1]))
    return LabelScheme(
        names=tuple(ordered),
        values=tuple(tuple(sorted(set(values))) for values in ordered.values()),
        has_regions=has_regions,
        region_order=_region_order(dataset_json.get("regions_class_order"), ordered, where)
        if has_regions
        else (),
        ignore_value=ignore[0] if ignore is not None else None,
        largest=largest,
    )


def _entries(labels: Any, where: object) -> dict[str, tuple[int, ...]]:
    if not isinstance(labels, dict) or not labels:
        raise _wrong(
            where,
            "no labels" if labels is None else f"labels {str(labels)[:60]!r}",
            "name -> value",
            f"write {EXAMPLE}",
        )
    if "background" not in labels and labels.get("0") is not None:
        raise _wrong(
            where,
            "labels as value -> name, the form of nnU-Net v1 and the Decathlon",
            "name -> value",
            f"turn them around ({EXAMPLE}), or convert the folder: balrsam convert --help",
        )
    return {str(name): _values(str(name), value, where) for name, value in labels.items()}


def _values(name: str, value: Any, where: object) -> tuple[int, ...]:
    items = value if isinstance(value, list) else [value]
    numbers = [_whole_number(item) for item in items]
    if (
        not numbers
        or any(number is None or not 0 <= number <= LARGEST_LABEL for number in numbers)
        or (name == "ignore" and len(numbers) > 1)
    ):
        raise _wrong(
            where,
            f"label '{name}' is {str(value)[:60]}",
            f"a whole number from 0 to {LARGEST_LABEL}, or a list of them for a region",
            f"correct it: {EXAMPLE}",
        )
    return tuple(number for number in numbers if number is not None)


def _whole_number(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    return whole_number(value) if isinstance(value, str) else None


def _region_order(order: Any, regions: dict[str, tuple[int, ...]], where: object) -> tuple[int, ...]:
    declared = {0}.union(*regions.values())
    numbers = [_whole_number(item) for item in order] if isinstance(order, list) else None
    if numbers is None or len(numbers) != len(regions) or not declared.issuperset(numbers):
        raise _wrong(
            where,
            f"regions_class_order {str(order)[:60]}",
            f"{len(regions)} values among those of labels, one per region ({', '.join(regions)})",
            "write the value that each region leaves in the label map when smaller ones have been painted "
            "over it, large regions first",
        )
    return tuple(number for number in numbers if number is not None)


def _wrong(where: object, found: str, expected: str, fix: str) -> DatasetError:
    return DatasetError(where, found=found, expected=expected, fix=fix)
