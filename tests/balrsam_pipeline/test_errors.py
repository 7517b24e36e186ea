from __future__ import annotations

import pickle

from balrsam_pipeline.errors import BalrsamError, DatasetError, ImageError


def test_message_says_where_found_expected_and_fix() -> None:
    text = str(DatasetError("case_1", found="no label", expected="labelsTr/case_1.nii.gz", fix="add it"))
    assert [part in text for part in ("case_1", "no label", "labelsTr/case_1.nii.gz", "add it")] == [True] * 4


def test_an_error_survives_the_way_back_from_a_worker_process() -> None:
    error = ImageError("x.png", found="a", expected="b", fix="c")
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is ImageError
    assert (back.where, back.found, back.expected, back.fix) == ("x.png", "a", "b", "c")


def test_every_error_of_ours_exits_with_two() -> None:
    assert BalrsamError.exit_code == 2
