"""Labels, regions and the ignore label are read by nnU-Net v2's rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from balrsam_pipeline.dataset import LabelScheme, parse_labels
from balrsam_pipeline.errors import DatasetError

BRATS = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3}


def labels(**entries: Any) -> LabelScheme:
    return parse_labels({"labels": entries}, "dataset.json")


def test_plain_labels_are_ordered_by_value() -> None:
    scheme = labels(background=0, tumour=2, liver=1)
    assert scheme.names == ("liver", "tumour")
    assert scheme.values == ((1,), (2,))
    assert scheme.classes == 3
    assert not scheme.has_regions


def test_regions_keep_the_order_of_the_file_and_paint_in_class_order() -> None:
    scheme = parse_labels({"labels": BRATS, "regions_class_order": [1, 2, 3]}, "dataset.json")
    assert scheme.names == ("whole", "core", "enhancing")
    assert scheme.classes == 3
    assert scheme.region_order == (1, 2, 3)
    logits = np.full((3, 4), -1.0)
    logits[0, 1:], logits[1, 2:], logits[2, 3:] = 1, 1, 1
    assert scheme.decode(logits).tolist() == [0, 1, 2, 3]


def test_a_list_of_one_value_is_a_plain_label() -> None:
    assert not labels(background=0, liver=[1]).has_regions


def test_numbers_may_be_written_as_text_or_whole_floats_as_nnunet_takes_them() -> None:
    assert labels(background="0", liver="1", tumour=2.0).values == ((1,), (2,))


def test_the_ignore_label_is_allowed_in_files_but_no_class() -> None:
    scheme = labels(background=0, liver=1, ignore=2)
    assert scheme.ignore_value == 2
    assert scheme.classes == 2
    assert scheme.allowed_values == {0, 1, 2}


def test_regions_may_have_an_ignore_label() -> None:
    scheme = parse_labels({"labels": BRATS | {"ignore": 4}, "regions_class_order": [1, 2, 3]}, "dataset.json")
    assert (scheme.ignore_value, scheme.classes, scheme.largest) == (4, 3, 3)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({}, "no labels"),
        ({"labels": []}, "labels"),
        ({"labels": {"liver": 1}}, "background"),
        ({"labels": {"background": 1, "liver": 2}}, "background"),
        ({"labels": {"background": 0}}, "no label but background"),
        ({"labels": {"0": "background", "1": "liver"}}, "value -> name"),
        ({"labels": {"background": 0, "liver": 1.5}}, "'liver' is 1.5"),
        ({"labels": {"background": 0, "liver": -1}}, "'liver' is -1"),
        ({"labels": {"background": 0, "liver": True}}, "'liver' is True"),
        ({"labels": {"background": 0, "liver": []}}, "'liver'"),
        ({"labels": {"background": 0, "liver": 1, "ignore": 1}}, "ignore label 1"),
        ({"labels": {"background": 0, "liver": 1, "ignore": 255}}, "ignore label 255"),
        ({"labels": {"background": 0, "liver": 1, "ignore": [2, 3]}}, "'ignore'"),
        ({"labels": BRATS}, "regions_class_order None"),
        ({"labels": BRATS, "regions_class_order": [1, 2]}, "regions_class_order"),
        ({"labels": BRATS, "regions_class_order": [1, 2, "x"]}, "regions_class_order"),
        ({"labels": BRATS, "regions_class_order": [1, 2, 4]}, "regions_class_order"),
        ({"labels": BRATS | {"ignore": 4}, "regions_class_order": [1, 2, 4]}, "regions_class_order"),
        ({"labels": BRATS, "regions_class_order": [1, 2, 40000]}, "regions_class_order"),
        ({"labels": BRATS, "regions_class_order": [-1, 2, 3]}, "regions_class_order"),
        ({"labels": BRATS, "regions_class_order": [10**18, 2, 3]}, "regions_class_order"),
    ],
)
def test_labels_that_make_no_sense_are_refused_with_a_fix(content: dict[str, Any], complaint: str) -> None:
    with pytest.raises(DatasetError) as caught:
        parse_labels(content, "dataset.json")
    assert complaint in caught.value.found
    assert caught.value.fix


@pytest.mark.parametrize("value", [65536, 10**9, 10**18, 1e308, -1, [1, 10**9], "1000000000", "9" * 5000])
def test_a_label_value_that_no_file_can_hold_is_refused_by_its_name(value: object) -> None:
    with pytest.raises(DatasetError, match="tumour"):
        parse_labels({"labels": {"background": 0, "organ": 1, "tumour": value}}, "dataset.json")
