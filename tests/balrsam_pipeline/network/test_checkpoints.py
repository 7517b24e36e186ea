"""SAM checkpoints load by content; anything wrong in one is named and refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from balrsam_pipeline.errors import CheckpointError
from balrsam_pipeline.network.checkpoints import read_sam, read_tensors
from balrsam_pipeline.plan import Backbone

MakeCheckpoint = Callable[[Backbone], tuple[nn.Module, Path]]
KEY = "image_encoder.blocks.0.attn.qkv.weight"


@pytest.fixture
def tensors(make_checkpoint: MakeCheckpoint) -> dict[str, Tensor]:
    return dict(make_checkpoint("vit_mini")[0].state_dict())


VARIANTS: dict[str, Callable[[dict[str, Tensor]], object]] = {
    "SAM's own": lambda tensors: tensors,
    "MedSAM's, the same keys": lambda tensors: dict(reversed(tensors.items())),
    "micro-sam's model_state": lambda tensors: {
        "model_state": {f"sam.{key}": value for key, value in tensors.items()},
        "iteration": 7,
    },
    "Lightning's state_dict": lambda tensors: {
        "state_dict": {f"model.sam.{key}": value for key, value in tensors.items()},
        "epoch": 3,
    },
    "a DataParallel prefix": lambda tensors: {f"module.{key}": value for key, value in tensors.items()},
    "half precision": lambda tensors: {key: value.half() for key, value in tensors.items()},
    "with pixel_mean": lambda tensors: {**tensors, "pixel_mean": torch.zeros(3, 1, 1)},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_of_a_sam_file_gives_the_same_tensors(
    variant: str, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "sam.pt"
    torch.save(VARIANTS[variant](tensors), path)
    read = read_sam(path, "vit_mini")
    assert read.keys() == tensors.keys()
    for key, tensor in read.items():
        torch.testing.assert_close(
            tensor, tensors[key], atol=1e-3 if variant == "half precision" else 0, rtol=1e-3
        )


def test_safetensors_and_the_old_torch_format_are_read(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(tensors, tmp_path / "sam.safetensors")
    torch.save(tensors, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for name in ("sam.safetensors", "old.pth"):
        assert torch.equal(read_sam(tmp_path / name, "vit_mini")[KEY], tensors[KEY])


def test_a_renamed_a_missing_and_a_misshapen_key_are_named(
    tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    renamed = {("image_encoder.qkv_weight" if key == KEY else key): value for key, value in tensors.items()}
    refuse(renamed, tmp_path, KEY, "image_encoder.qkv_weight")
    refuse(
        {key: value for key, value in tensors.items() if key != "mask_decoder.iou_token.weight"},
        tmp_path,
        "mask_decoder.iou_token.weight",
    )
    refuse({**tensors, KEY: tensors[KEY][:-1]}, tmp_path, KEY, "(575, 192)", "(576, 192)")
    refuse({**tensors, "image_encoder.extra": tensors[KEY]}, tmp_path, "unexpected", "image_encoder.extra")


def refuse(tensors: dict[str, Tensor], folder: Path, *words: str) -> None:
    path = folder / "bad.pth"
    torch.save(tensors, path)
    with pytest.raises(CheckpointError) as caught:
        read_sam(path, "vit_mini")
    for word in ("bad.pth", *words):
        assert word in str(caught.value)


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
@pytest.mark.parametrize("keep", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_named(
    ending: str, keep: float, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / f"short.{ending}"
    save_file(tensors, path) if ending == "safetensors" else torch.save(tensors, path)
    os.truncate(path, int(path.stat().st_size * keep))
    with pytest.raises(CheckpointError, match=f"short.{ending}"):
        read_sam(path, "vit_mini")


class Payload:
    """Pickles as a call that would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_with_code_is_refused_and_not_run(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    path, trace = tmp_path / "evil.pth", tmp_path / "was_run"
    torch.save({**tensors, "payload": Payload(trace)}, path)
    with pytest.raises(CheckpointError, match=r"(?s)evil\.pth.*more than tensors"):
        read_sam(path, "vit_mini")
    assert not trace.exists()


def test_other_files_are_explained(
    tensors: dict[str, Tensor], tmp_path: Path, make_checkpoint: MakeCheckpoint
) -> None:
    path = tmp_path / "other.pth"
    torch.save({"encoder.weight": torch.zeros(3)}, path)
    with pytest.raises(CheckpointError, match=r"patch_embed"):
        read_sam(path, "vit_mini")
    torch.save({"epoch": 3}, path)
    with pytest.raises(CheckpointError, match="without tensors"):
        read_sam(path, "vit_mini")
    with pytest.raises(CheckpointError, match="weights of vit_mini"):
        read_sam(make_checkpoint("vit_mini")[1], "vit_b")
    with pytest.raises(CheckpointError, match="no such file"):
        read_sam(tmp_path / "absent.pth", "vit_b")


@pytest.mark.parametrize("begins", [b" <", b" {", b"<", b"{", b"\n<"])
def test_a_header_whose_length_begins_like_text_is_sound(begins: bytes, tmp_path: Path) -> None:
    path, length = tmp_path / "h.safetensors", int.from_bytes(begins.ljust(2, b" "), "little")
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'.ljust(length)
    path.write_bytes(length.to_bytes(8, "little") + header + np.float32(3).tobytes())
    assert path.read_bytes().startswith(begins)
    assert read_tensors(path)["a"].tolist() == [3.0]


@pytest.mark.skipif(os.name == "nt", reason="its names are no bytes")
@pytest.mark.parametrize("name", ["a.safetensors", "a.pth"])
def test_a_path_that_is_not_utf8_is_told_as_that(name: str, tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"r\xf6")
    folder.mkdir()
    save = {"a.pth": torch.save, "a.safetensors": save_file}[name]
    save({"a": torch.zeros(2)}, tmp_path / name)
    (tmp_path / name).rename(folder / name)
    with pytest.raises(CheckpointError, match="not UTF-8") as refused:
        read_tensors(folder / name)
    assert "rename" in refused.value.fix and "truncated" not in str(refused.value)


@pytest.mark.parametrize("old", [False, True])
def test_a_checkpoint_under_the_other_kinds_name_is_to_be_renamed(old: bool, tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(2)}, tmp_path / "x.safetensors", _use_new_zipfile_serialization=not old)
    save_file({"a": torch.zeros(2)}, tmp_path / "y.pth")
    for name, fix in (("x.safetensors", "rename it to x.pth"), ("y.pth", "rename it to y.safetensors")):
        with pytest.raises(CheckpointError) as caught:
            read_tensors(tmp_path / name)
        assert caught.value.fix == fix
        (tmp_path / name).rename(tmp_path / fix.split()[-1])
        assert read_tensors(tmp_path / fix.split()[-1])["a"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("ending", ["pth", "pt", "safetensors"])
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
        (b"\xef\xbb\xbf\n  <html>log in</html>", "web page"),
        (b"<?xml version='1.0'?><Error>AccessDenied</Error>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "Git LFS"),
        (b"/annex/objects/SHA256E-s9--0.pth\n", "git-annex"),
        (b'{"error": "not found"}', "JSON"),
        (b"\x1f\x8b\x08\x00rest", "gzip"),
        (b"", "empty"),
        (bytes(4096), "zeros"),
        (b"Not Found", "no checkpoint"),
    ],
)
def test_what_was_saved_in_place_of_a_checkpoint_is_told_by_its_first_bytes(
    ending: str, content: bytes, told: str, tmp_path: Path
) -> None:
    path = tmp_path / f"sam.{ending}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=told) as caught:
        read_sam(path, "vit_mini")
    assert "weights_only" not in str(caught.value)
