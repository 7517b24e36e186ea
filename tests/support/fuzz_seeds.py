"""A small sound file of every kind that is read from outside, as bytes."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from support.fingerprints import make_fingerprint
from support.plans import example_plan

from balrsam_pipeline.plan import NetworkPlan, Plan
from balrsam_pipeline.serialise import to_json


def _volume() -> npt.NDArray[np.int16]:
    return np.random.default_rng(0).integers(0, 3, (3, 12, 10)).astype(np.int16)


def _picture(channels: int) -> npt.NDArray[np.uint8]:
    shape = (12, 10) if channels == 1 else (12, 10, channels)
    return np.random.default_rng(0).integers(0, 3, shape).astype(np.uint8)


def _written(name: str, write: Callable[[Path], object]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write(path)
        return path.read_bytes()


def _medical(name: str, compressed: bool = False, vector: bool = False) -> bytes:
    import SimpleITK as sitk

    array = np.stack([_volume()] * 3, axis=-1) if vector else _volume()
    image = sitk.GetImageFromArray(array, isVector=vector)
    image.SetSpacing((0.5, 0.6, 3.0))
    return _written(name, lambda path: sitk.WriteImage(image, str(path), useCompression=compressed))


def _pillow(form: str, channels: int) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(_picture(channels)).save(buffer, form)
    return buffer.getvalue()


def _tiff(array: npt.NDArray[Any], compression: str | None) -> bytes:
    import tifffile

    return _written(
        "a.tif", lambda path: tifffile.imwrite(path, array, compression=compression, photometric="minisblack")
    )


def _arrays() -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, imgs=_volume(), gts=_volume() > 1, spacing=(0.5, 0.6, 3.0))
    return buffer.getvalue()


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1).encode()


def _description(labels: dict[str, Any], **more: Any) -> bytes:
    names = {"0": "T1", "1": "T2"}
    return _json(
        {
            "name": "x",
            "channel_names": names,
            "labels": labels,
            "numTraining": 3,
            "file_ending": ".nii.gz",
            **more,
        }
    )


def _summary() -> bytes:
    from support.datasets import write_volume

    from balrsam_pipeline.dataset.labels import LabelScheme
    from evaluation import EvaluationOptions, evaluate_folders
    from evaluation.reports.summary_json import write_summary

    labels = LabelScheme(
        names=("organ",), values=((1,),), has_regions=False, region_order=(), ignore_value=None, largest=1
    )
    options = EvaluationOptions(metrics=("overlap", "surface", "nsd", "detection"))
    with tempfile.TemporaryDirectory() as folder:
        for part in ("predictions", "references"):
            for case in ("a", "b"):
                write_volume(
                    Path(folder) / part / f"{case}.nii.gz", (_volume() > 1).astype(np.uint8), (1.0, 1.0, 1.0)
                )
        summary = evaluate_folders(
            Path(folder) / "predictions", Path(folder) / "references", labels, ".nii.gz", options
        )
        write_summary(summary, path := Path(folder) / "summary.json")
        return path.read_bytes()


def _nnunet_summary() -> bytes:
    numbers = {"Dice": 0.5, "IoU": 1 / 3, "TP": 10, "FP": 10, "FN": 10, "TN": 70, "n_pred": 20, "n_ref": 20}
    cases = [
        {"reference_file": f"/r/{case}.nii.gz", "prediction_file": "/p", "metrics": {"1": numbers}}
        for case in "ab"
    ]
    return _json({"foreground_mean": numbers, "mean": {"1": numbers}, "metric_per_case": cases})


def _best() -> bytes:
    rules = {
        "schema_version": 1,
        "steps": [{"kind": "minimum_size", "names": ["organ"], "minimum_mm3": 5.0}],
        "reasons": ["r"],
    }
    score = {
        "configurations": ["2d"],
        "dice": 0.9,
        "dice_low": 0.8,
        "dice_high": 1.0,
        "cost": 1.0,
        "p_value": None,
        "tied_with_best": True,
    }
    best = {
        "dataset": "Dataset001_X",
        "configurations": ["2d"],
        "folds": [0, 1],
        "postprocessing": rules,
        "reason": "r",
    }
    return _json({"schema_version": 1, **best, "candidates": [score]})


def _prediction() -> bytes:
    labels = {
        "names": ["a"],
        "values": [[1]],
        "has_regions": False,
        "region_order": [],
        "ignore_value": None,
        "largest": 1,
    }
    member = {
        "dataset": "D",
        "configuration": "2d",
        "plan_sha256": "0",
        "weights_sha256": "0",
        "models": 1,
        "weight": 1.0,
    }
    rules = {"schema_version": 1, "steps": [], "reasons": []}
    series = {"c": {"study_uid": "1.2", "series_uids": ["1.2.3"]}}
    made = {"members": [member], "mirror": True, "tile_step": 0.5, "labels": labels, "postprocessing": rules}
    return _json({**made, "series": series})


def _case() -> bytes:
    from balrsam_pipeline.imageio import Geometry
    from balrsam_pipeline.preprocessing import CaseProperties, StoredCase

    geometry = Geometry(dimension=3, shape_zyx=(3, 4, 5), spacing_mm=(1.0, 1.0, 1.0))
    box, shape, spacing = ((0, 3), (0, 4), (0, 5)), (3, 4, 5), (1.0, 1.0, 1.0)
    properties = CaseProperties(
        geometry=geometry,
        transpose=(0, 1, 2),
        crop_box=box,
        cropped_shape=shape,
        shape=shape,
        spacing_mm=spacing,
        target_spacing_mm=spacing,
    )
    stored = StoredCase(
        properties=properties, recipe_sha256="0", foreground={"a": (0, 3)}, stored_bytes={"case.b2nd": 10}
    )
    return _json(to_json(stored))


def _step() -> bytes:
    record = {
        "step": "step",
        "command": "c",
        "state": "done",
        "inputs": {"raw/a": "0"},
        "begun": "2026",
        "pid": 1,
        "host": "h",
    }
    return _json({**record, "outputs": {"results/a": {"size": 1, "sha256": "0"}}, "seconds": 1.0})


@cache
def tiny_plan() -> Plan:
    """A plan whose network is as small as the backbone allows."""
    plan = example_plan()
    network = replace(
        plan.configurations["2d"].network, classes=2, input_size=(16, 16), cden_width=8, mask_stride=4
    )
    return replace(
        plan, configurations={"2d": replace(plan.configurations["2d"], network=network, patch_size=(16, 16))}
    )


@cache
def tiny_network() -> tuple[Any, NetworkPlan]:
    """The network of `tiny_plan`, and its plan."""
    from balrsam_pipeline.network import build

    network = tiny_plan().configurations["2d"].network
    return build(network), network


def _torch(legacy: bool) -> bytes:
    import torch

    tensors = {
        "image_encoder.patch_embed.proj.weight": torch.zeros(768, 1, 2, 2),
        "a": torch.arange(6.0),
        "b": torch.zeros(2, 3),
    }
    buffer = io.BytesIO()
    torch.save({"state_dict": tensors, "epoch": 3}, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def _small_safetensors() -> bytes:
    import torch
    from safetensors.torch import save

    return save({"a": torch.arange(6.0), "b": torch.zeros(2, 3, dtype=torch.bfloat16)}, {"x": "y"})


def _training_checkpoint() -> bytes:
    import torch

    from trainers.checkpoints import Checkpoint, write_checkpoint

    checkpoint = Checkpoint(
        {"ema/a": torch.arange(6.0), "weights/b": torch.zeros(2, 3)},
        {"plan_sha256": "0", "state": {"step": 3}},
    )
    return _written("c.safetensors", lambda path: write_checkpoint(path, checkpoint))


def _trained() -> bytes:
    from safetensors.torch import save

    from balrsam_pipeline.network import trainable_state

    model, _ = tiny_network()
    return save(
        {f"ema/{name}": tensor.contiguous() for name, tensor in trainable_state(model).items()},
        {"base_sha256": ""},
    )


def _model_zip() -> bytes:
    from balrsam_pipeline.inference.sharing.pack import ExportRequest, export_model
    from balrsam_pipeline.plan import write_versioned

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "Dataset001_X" / "2d__balrsam"
        write_versioned(folder / "plan.json", tiny_plan())
        (folder / "dataset.json").write_bytes(_description({"background": 0, "a": 1}))
        (folder / "fold_0").mkdir()
        (folder / "fold_0" / "checkpoint_final.safetensors").write_bytes(_small_safetensors())
        export_model(ExportRequest(folders=(folder,), output=Path(place) / "model.zip"))
        return (Path(place) / "model.zip").read_bytes()


def _pack() -> bytes:
    from support.stored import LABELS, make_case

    from balrsam_pipeline.preprocessing import pack_case, write_pack

    store = Path("store")
    entries = {name: pack_case(store, name, make_case((2, 5, 6)), LABELS, "0") for name in ("a", "b")}
    return _written("cases_00000.safetensors", lambda path: write_pack(path, entries))


def _stored_array() -> bytes:
    from support.stored import LABELS, make_case

    from balrsam_pipeline.preprocessing import write_case

    return _written("a.b2nd", lambda path: write_case(path.parent, "a", make_case((2, 5, 6)), LABELS, "0"))


def _dicom(kind: str) -> bytes:
    from support.dicom import KINDS, write_kind

    with tempfile.TemporaryDirectory() as folder:
        write_kind(Path(folder), KINDS[kind])
        return next(Path(folder).iterdir()).read_bytes()


def _segments() -> bytes:
    from support.dicom import KINDS, write_segments

    return _written("seg.dcm", lambda path: write_segments(path, KINDS["oblique"]))


SEEDS: dict[str, Callable[[], bytes]] = {
    "a.nii.gz": lambda: _medical("a.nii.gz", compressed=True),
    "a.nii": lambda: _medical("a.nii"),
    "a.mha": lambda: _medical("a.mha"),
    "b.mha": lambda: _medical("b.mha", compressed=True, vector=True),
    "a.nrrd": lambda: _medical("a.nrrd"),
    "b.nrrd": lambda: _medical("b.nrrd", compressed=True, vector=True),
    "a.gipl": lambda: _medical("a.gipl"),
    "a.png": lambda: _pillow("PNG", 1),
    "b.png": lambda: _pillow("PNG", 3),
    "a.bmp": lambda: _pillow("BMP", 3),
    "a.jpg": lambda: _pillow("JPEG", 3),
    "a.tif": lambda: _tiff(_picture(1), "zlib"),
    "a.npz": lambda: _arrays(),
    "b.tif": lambda: _tiff(_volume(), None),
    "dataset.json": lambda: _description({"background": 0, "a": 1, "b": 2, "ignore": 3}),
    "regions.json": lambda: _description(
        {"background": 0, "whole": [1, 2], "core": 2},
        regions_class_order=[1, 2],
        dataset={"a": {"images": ["imagesTr/a.nii.gz"], "label": "labelsTr/a.nii.gz"}},
    ),
    "splits_final.json": lambda: _json(
        [{"train": ["a", "b"], "val": ["c"]}, {"train": ["c", "b"], "val": ["a"]}]
    ),
    "plan.json": lambda: _json(to_json(example_plan())),
    "fingerprint.json": lambda: _json(to_json(make_fingerprint())),
    "summary.json": _summary,
    "nnunet_summary.json": _nnunet_summary,
    "settings.json": lambda: _json(
        {"epochs": 3, "loss": {"dice": 1.0}, "augmentation": {"scaling_range": [0.7, 1.4]}, "amp": True}
    ),
    "best_configuration.json": _best,
    "postprocessing.json": lambda: _json(
        {"schema_version": 1, "steps": [{"kind": "largest_component", "names": ["a"]}], "reasons": []}
    ),
    "prediction.json": _prediction,
    "case.json": _case,
    "step.json": _step,
    "hashes.json": lambda: _json({"/a": [1, 2, 3, 4, "0"]}),
    "log.jsonl": lambda: (
        b'{"event": "epoch", "epoch": 1, "step": 100, "progress": 0.5, "left_s": 3, "quick_dice": 0.5}\n' * 3
    ),
    "groups.csv": lambda: b"case,group\na,1\nb,1\nc,2\n",
    "strata.csv": lambda: b'case,site\na,x\nb,"y, z"\nc,x\n',
    "numbers.csv": lambda: (
        b"case,size\n" + b"".join(f"{case},{index}.5\n".encode() for index, case in enumerate("abcdefghijkl"))
    ),
    "tensors.pth": lambda: _torch(legacy=False),
    "old.pth": lambda: _torch(legacy=True),
    "tensors.safetensors": _small_safetensors,
    "training.safetensors": _training_checkpoint,
    "trained.safetensors": _trained,
    "cases_00000.safetensors": _pack,
    "a.b2nd": _stored_array,
    "model.zip": _model_zip,
    "slice.dcm": lambda: _dicom("single"),
    "frames.dcm": lambda: _dicom("multi-frame"),
    "seg.dcm": _segments,
    "inputs.json": lambda: _json([{"interface": {"slug": "ct", "relative_path": "images/ct"}}] * 2),
    "codes.json": lambda: _json(
        {
            "liver": {"type": ["10200004", "SCT", "Liver"], "colour": [255, 0, 0]},
            "lesion": {"type": ["1", "2", "3"]},
        }
    ),
    "form.json": lambda: _json(
        {"name": "x", "template": "{case}.nii.gz", "label_map": {"1": 2}, "source": "a"}
    ),
    "stack.json": lambda: _json({"spacing": [2.0, 0.5, 0.5]}),
    "v1.json": lambda: _json(
        {
            "modality": {"0": "CT"},
            "labels": {"0": "background", "1": "liver", "2": "lesion"},
            "training": [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}],
        }
    ),
}
