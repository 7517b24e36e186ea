"""The example of docs/extending.md, word for word, in a package outside of the tree."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from balrsam_pipeline.dataset.labels import LabelScheme
from balrsam_pipeline.errors import CheckpointError, PredictionError, TrainingError
from balrsam_pipeline.extensions import load_extension, loaded_once
from balrsam_pipeline.inference import Postprocessing, PredictorOptions, load_predictor
from balrsam_pipeline.inference.model_folder import ModelChoice
from balrsam_pipeline.inference.sharing.install import install_model
from balrsam_pipeline.inference.sharing.pack import ExportRequest, export_model
from balrsam_pipeline.plan import read_plan
from evaluation.submission.container import ContainerRequest, write_container
from trainers.augmentation import augment_own
from trainers.augmentation_config import AugmentationConfig
from trainers.config import LossConfig, read_training_config
from trainers.fold import train_fold
from trainers.loggers.jsonl import read_log
from trainers.losses import SegmentationLoss

CLASSES = LabelScheme(
    names=("a", "b"), values=((1,), (2,)), has_regions=False, region_order=(), ignore_value=None, largest=2
)
PAGE = Path(__file__).parents[2] / "docs" / "extending.md"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """`my_lab` of the page, importable for one test."""
    folder = tmp_path / "outside" / "my_lab"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (code,) = blocks("python")
    (folder / "segmentation.py").write_text(code)
    monkeypatch.syspath_prepend(str(folder.parent))
    loaded_once.cache_clear()
    yield folder
    loaded_once.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_lab"]:
        del sys.modules[name]


@pytest.fixture
def trained(package, make_request, tmp_path, caplog):
    """A fold that was trained with all of the page's settings."""
    (settings,) = blocks("json")
    (tmp_path / "settings.json").write_text(settings)
    named = dataclasses.asdict(read_training_config(tmp_path / "settings.json"))
    named["loss"], named["augmentation"] = (
        LossConfig(**named["loss"] | {"cross_entropy": 0.0, "boundary": 0.0}),
        AugmentationConfig(**named["augmentation"]),
    )
    chosen = ("loss", "augmentation", "network_extension", "trainer_extension")
    with caplog.at_level("INFO"):
        return train_fold(make_request(epochs=1, **{name: named[name] for name in chosen}))


def test_the_page_s_example_trains_a_fold_and_predicts(trained, caplog, tmp_path, monkeypatch):
    assert "my own trainer at step 0" in [record.getMessage() for record in caplog.get_records("setup")]
    assert trained.summary is not None
    (epoch,) = read_log(trained.folder / "log.jsonl")
    assert 0 < epoch["loss"] < 1  # of Tversky alone; with cross-entropy it would begin at 1.7
    model = trained.folder.parent
    assert read_plan(model / "plan.json").configuration("2d").network.extension.endswith(":mixed_channels")
    (network,) = load_predictor(model, [0], PredictorOptions(device="cpu")).models
    assert any("to_unit_range.1.weight" in name for name, _ in network.named_parameters())

    with pytest.raises(PredictionError, match=r"'my_lab\.segmentation:mixed_channels'"):
        export_model(ExportRequest(folders=(model,), output=tmp_path / "model.zip"))
    choice = ModelChoice(
        folders=(model,), weights=(1.0,), folds=None, checkpoint="final", postprocessing=Postprocessing()
    )
    request = ContainerRequest(
        choice=choice, folder=tmp_path / "container", input_slugs=("mr",), output_slug="organ"
    )
    folder = write_container(request)
    assert (folder / "code" / "my_lab" / "segmentation.py").is_file()

    for name in [name for name in sys.modules if name.partition(".")[0] == "my_lab"]:
        del sys.modules[name]
    monkeypatch.setattr(sys, "path", [path for path in sys.path if "outside" not in path])
    with pytest.raises(CheckpointError, match=r"'my_lab.segmentation' cannot be imported"):
        load_predictor(model, [0], PredictorOptions(device="cpu"))


def test_an_archive_whose_plan_names_code_is_refused(make_request, tmp_path):
    """Its author changed the plan after the export, hashes included; nothing is imported."""
    model = train_fold(make_request(epochs=1)).folder.parent
    export_model(ExportRequest(folders=(model,), output=tmp_path / "good.zip"))
    with zipfile.ZipFile(tmp_path / "good.zip") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    (name,) = (name for name in members if name.endswith("2d__balrsam/plan.json"))
    plan = json.loads(members[name])
    plan["configurations"]["3d"]["network"]["extension"] = "this:c"
    members[name] = json.dumps(plan).encode()
    manifest = json.loads(members["manifest.json"])
    manifest["files"][name] = {
        "sha256": hashlib.sha256(members[name]).hexdigest(),
        "size_bytes": len(members[name]),
    }
    members["manifest.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    with pytest.raises(PredictionError, match="archives must not name code"):
        install_model(tmp_path / "bad.zip", tmp_path / "elsewhere")
    assert "this" not in sys.modules
    assert not any((tmp_path / "elsewhere").iterdir())


def test_an_augmentation_gets_copies_and_numbers_of_the_sample_s_own(package):
    image, label = np.ones((1, 20, 20), np.float32), np.ones((20, 20), np.int16)
    names = ("my_lab.segmentation:hidden_square",)
    changed, same = augment_own(image, label, 3, names)
    assert image.all() and 0 < int((changed == 0).sum()) <= 64 and (same == label).all()
    np.testing.assert_array_equal(changed, augment_own(image, label, 3, names)[0])
    assert any((augment_own(image, label, seed, names)[0] != changed).any() for seed in range(5))


def test_what_an_augmentation_returns_is_checked(package):
    (package / "wrong.py").write_text("def half(image, label, rng):\n    return image[:, ::2], label\n")
    image, label = np.ones((1, 20, 20), np.float32), np.ones((20, 20), np.int16)
    with pytest.raises(TrainingError, match=r"shapes \(1, 10, 20\) and \(20, 20\)"):
        augment_own(image, label, 0, ("my_lab.wrong:half",))


def test_wrong_names_are_told(package):
    for name, told in (
        ("my_lab.nothing:loss", "cannot be imported"),
        ("my_lab.segmentation:nothing", "nothing to call of that name"),
        ("segmentation.py", "another form"),
    ):
        with pytest.raises(TrainingError, match=told):
            load_extension(name, "loss", TrainingError)
    with pytest.raises(TrainingError, match=r"package\.module:name"):
        LossConfig(extension="segmentation.py")


def test_a_loss_of_one_s_own_is_the_batch_s_mean_in_pieces_too(package):
    """The oracle is the loss of the whole batch."""
    (package / "mean.py").write_text(
        "def squared(logits, label, labels):\n    return (logits[:, 0] - label).square().mean()\n"
    )
    torch.manual_seed(0)
    logits, label = torch.randn(3, 3, 8, 8), torch.randint(0, 3, (3, 8, 8))
    config = LossConfig(extension="my_lab.mean:squared", extension_weight=2.0, boundary=0.0)
    loss, plain = SegmentationLoss(CLASSES, config), SegmentationLoss(CLASSES, LossConfig(boundary=0.0))
    expected = plain(logits, None, label).total + 2 * (logits[:, 0] - label).square().mean()
    first, second = loss.sums(logits[:2], None, label[:2]), loss.sums(logits[2:], None, label[2:])
    pieces = dataclasses.replace(first, vector=first.vector + second.vector)
    torch.testing.assert_close(loss(logits, None, label).total, expected)
    torch.testing.assert_close(loss.of_sums(pieces).total, expected)
