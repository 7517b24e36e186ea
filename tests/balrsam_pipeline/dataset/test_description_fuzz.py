"""Whatever JSON a dataset.json, splits_final.json or groups.csv holds, it is read or refused with a message,
never a crash."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from balrsam_pipeline.dataset import check_dataset, read_description, read_folds, read_groups
from balrsam_pipeline.errors import DatasetError

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-3, 300)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(["background", "ignore", "liver", "0", "1", "²"]) | st.text(max_size=3)
label_values = st.integers(0, 4) | st.lists(st.integers(0, 4), max_size=3) | values
descriptions = st.fixed_dictionaries(
    {},
    optional={
        "channel_names": st.dictionaries(names, values, max_size=3) | values,
        "labels": st.dictionaries(names, label_values, max_size=4) | values,
        "regions_class_order": st.lists(st.integers(0, 4), max_size=4) | values,
        "file_ending": st.sampled_from([".png", ".nii.gz"]) | values,
        "overwrite_image_reader_writer": values,
        "numTraining": values,
        "name": values,
        "dataset": st.dictionaries(
            names, st.fixed_dictionaries({"images": values, "label": values}) | values, max_size=2
        )
        | values,
    },
)
quietly = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@quietly
@given(content=descriptions | values)
def test_any_description_is_read_or_refused(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps(content))
    try:
        read_description(path)
    except DatasetError as error:
        assert error.fix
    assert check_dataset(tmp_path).problems


@quietly
@given(
    content=values | st.lists(st.dictionaries(st.sampled_from(["train", "val"]), values), max_size=3),
    text=st.text(max_size=30),
)
def test_any_splits_and_groups_are_read_or_refused(tmp_path: Path, content: Any, text: str) -> None:
    (tmp_path / "splits_final.json").write_text(json.dumps(content))
    (tmp_path / "groups.csv").write_text(text, encoding="utf-8", errors="replace")
    for read, name in ((read_folds, "splits_final.json"), (read_groups, "groups.csv")):
        try:
            read(tmp_path / name)
        except DatasetError as error:
            assert error.fix
