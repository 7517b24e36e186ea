"""Equal values of many cases are one object; unequal ones, and other fields, stay what they were."""

from __future__ import annotations

import pickle

from balrsam_pipeline.common_values import CommonValues
from balrsam_pipeline.dataset import CaseFacts


def test_equal_values_that_came_from_other_processes_are_one_object() -> None:
    common = CommonValues()
    sent = [
        CaseFacts(case=case, dimension=3, spacing_mm=(3.0, 0.5, 0.5), orientation="LPS") for case in "abc"
    ]
    kept = [common.shared(pickle.loads(pickle.dumps(facts)), "spacing_mm", "orientation") for facts in sent]
    assert kept == sent
    assert all(facts.spacing_mm is kept[0].spacing_mm for facts in kept)


def test_fields_of_equal_values_are_kept_apart() -> None:
    common = CommonValues()
    whole = common.shared(CaseFacts(case="a", label_values=(1, 2, 3)), "label_values", "spacing_mm")
    measured = common.shared(CaseFacts(case="b", spacing_mm=(1.0, 2.0, 3.0)), "spacing_mm", "label_values")
    assert [type(value) for value in whole.label_values or ()] == [int] * 3
    assert [type(value) for value in measured.spacing_mm] == [float] * 3
