"""Containers as grand-challenge and FLARE run them: in mount and network namespaces, with folders where they
have them. The oracle is the same model, asked directly."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.namespaces import Mount, run_in_container, why_not

from balrsam_pipeline.cli import main
from balrsam_pipeline.imageio import Geometry, Image, read_geometry, read_label, write_image
from balrsam_pipeline.inference import PredictorOptions, load_predictor, predict_array

Folders = Callable[..., Path]
GEOMETRY = Geometry(
    dimension=3, shape_zyx=(5, 20, 18), spacing_mm=(1.0, 1.0, 1.0), origin_mm=(3.0, -2.0, 1.0)
)
UUIDS = ("3f0c1f9e-7f3c-4d39-a9a5-0b1c7c5f8a11", "c2a51a0f-94f7-4a0b-8d4e-5a6f1f5d0c77")
PROBES = "ls -A /tmp; cat /proc/net/dev | grep -c :; touch /opt/ml/model/x 2>&1; touch /input/x 2>&1; id -u; "


@pytest.fixture(scope="module", autouse=True)
def namespaces(tmp_path_factory: pytest.TempPathFactory) -> None:
    reason = why_not(tmp_path_factory.mktemp("root"))
    if reason:
        pytest.skip(f"namespaces are not permitted here: {reason}")


def voxels(seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).integers(0, 3, GEOMETRY.shape_zyx)
    return values.astype(np.float32)


def container_of(model: Path, folder: Path, form: str, *words: str) -> Path:
    command = ["submit", "--format", form, "--container", "--model", str(model), "-o", str(folder)]
    assert main([*command, *words]) == 0
    return folder


def environment_of(container: Path) -> dict[str, str]:
    """The variables that the Dockerfile sets."""
    (line,) = re.findall(r"^ENV (.*)$", (container / "Dockerfile").read_text(), re.MULTILINE)
    pairs = [word.partition("=") for word in line.split() if not word.startswith("PATH=")]
    return {name: value for name, _, value in pairs}


def run_by_grand_challenge(
    container: Path, inputs: Path, outputs: Path, before: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the entry point of the Dockerfile, after some other commands.

    Raises:
        AssertionError: something was said on standard error.
    """
    scratch = container.with_name("root")
    for folder in (scratch, outputs):
        folder.mkdir(exist_ok=True)
    mounts = [
        Mount(container / "code", "/opt/app"),
        Mount(container / "model", "/opt/ml/model"),
        Mount(inputs, "/input"),
        Mount(outputs, "/output", writable=True),
    ]
    dockerfile = (container / "Dockerfile").read_text()
    (entry,) = re.findall(r"^ENTRYPOINT (.*)$", dockerfile, re.MULTILINE)
    assert re.search(r"^WORKDIR /opt/app$", dockerfile, re.MULTILINE)
    command = ["sh", "-c", f'{before} exec "$@"', "sh", *json.loads(entry)]
    done = run_in_container(scratch, "/opt/app", mounts, command, environment_of(container))
    assert done.stderr == "", done.stdout + done.stderr
    return done


def test_grand_challenge_runs_a_container(
    model_folder: Folders, fakes: SimpleNamespace, tmp_path: Path
) -> None:
    """Two sockets of images (.mha and .tif under UUIDs) and one of a number, in another order than channels;
    model and input read-only, nothing in /tmp, no network, no rights, nothing on standard error."""
    network = replace(fakes.make_plan().configuration("2d").network, input_channels=2)
    two = {"normalization": ("none", "none"), "normalize_inside_mask": (False, False), "network": network}
    model = model_folder(**two)
    description: dict[str, Any] = json.loads((model / "dataset.json").read_text())
    description["channel_names"] = {"0": "T2", "1": "ADC"}
    (model / "dataset.json").write_text(json.dumps(description))
    slugs = ("t2-prostate-mri", "adc-prostate-mri")
    words = ("--input-slugs", *slugs, "--output-slug", "prostate-lesions")
    container = container_of(model, tmp_path / "container", "grand-challenge", *words)

    inputs, outputs, image = tmp_path / "in", tmp_path / "out", np.stack([voxels(0), voxels(1)])
    for slug, uuid, ending, channel in zip(slugs, UUIDS, (".mha", ".tif"), image, strict=True):
        write_image(inputs / "images" / slug / f"{uuid}{ending}", Image(channel[None], GEOMETRY))
        for sidecar in (inputs / "images" / slug).glob("*.json"):
            sidecar.unlink()  # grand-challenge has none
    (inputs / "psa.json").write_text("4.2")
    sockets = [("psa", "psa.json"), *((slug, f"images/{slug}") for slug in reversed(slugs))]
    entries = [{"interface": {"slug": slug, "relative_path": path}} for slug, path in sockets]
    (inputs / "inputs.json").write_text(json.dumps(entries))
    done = run_by_grand_challenge(container, inputs, outputs, PROBES)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("Read-only file system") == 2 and "\n1000\n" in done.stdout
    assert done.stdout.startswith("1\n")  # /tmp is empty, and there is the loopback alone
    assert "sockets that the model does not look at: psa" in done.stdout

    (made,) = (path for path in outputs.rglob("*") if path.is_file())
    assert made == outputs / "images" / "prostate-lesions" / "output.mha"
    assert b"CompressedData = True" in made.read_bytes()[:1000]
    assert read_geometry(made) == GEOMETRY
    predictor = load_predictor(model, None, PredictorOptions(device="cpu"))
    expected = predict_array(predictor, image, GEOMETRY.spacing_mm)
    np.testing.assert_array_equal(read_label(made).data[0], expected)
    assert len(np.unique(expected)) > 1


def test_grand_challenge_runs_a_container_of_a_picture(model_folder: Folders, tmp_path: Path) -> None:
    """One `.tif` picture."""
    model = model_folder(folds=(0,))
    container = container_of(model, tmp_path / "container", "grand-challenge", "--input-slugs", "slide")
    pixels = np.random.default_rng(0).integers(0, 3, (1, 1, 20, 18)).astype(np.uint8)
    flat = Geometry(dimension=2, shape_zyx=(1, 20, 18), spacing_mm=(999.0, 1.0, 1.0))
    inputs, outputs = tmp_path / "in", tmp_path / "out"
    write_image(inputs / "images" / "slide" / f"{UUIDS[0]}.tif", Image(pixels, flat))
    entry = {"interface": {"slug": "slide", "relative_path": "images/slide"}}
    (inputs / "inputs.json").write_text(json.dumps([entry]))
    done = run_by_grand_challenge(container, inputs, outputs)
    assert done.returncode == 0, done.stdout
    made = outputs / "images" / "segmentation" / "output.mha"
    predictor = load_predictor(model, [0], PredictorOptions(device="cpu"))
    expected = predict_array(predictor, pixels[:, 0].astype(np.float32))
    np.testing.assert_array_equal(read_label(made).data[0, 0], expected.reshape(20, 18))


def test_flare_runs_a_container(image_folder: Folders, model_folder: Folders, tmp_path: Path) -> None:
    """`sh predict.sh` in /workspace, as FLARE runs it; read-only inputs, an empty /tmp, no network."""
    model, images = model_folder(folds=(0,)), image_folder(2)
    container = container_of(model, tmp_path / "container", "flare")
    workspace, outputs = tmp_path / "workspace", tmp_path / "team_outputs"
    copies = re.findall(
        r"^COPY (\S+) /workspace/(\S*)$", (container / "Dockerfile").read_text(), re.MULTILINE
    )
    assert {source for source, _ in copies} == {"requirements.txt", "model", "code"}
    for source, place in copies:
        if (container / source).is_dir():
            shutil.copytree(container / source, workspace / place, dirs_exist_ok=True)
    for folder in (workspace / "inputs", workspace / "outputs", outputs, tmp_path / "root"):
        folder.mkdir()
    mounts = [
        Mount(workspace, "/workspace"),
        Mount(images, "/workspace/inputs"),
        Mount(outputs, "/workspace/outputs", writable=True),
    ]
    command = ["/bin/bash", "-c", "sh predict.sh"]
    done = run_in_container(tmp_path / "root", "/workspace", mounts, command, environment_of(container))
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert sorted(path.name for path in outputs.iterdir()) == ["case0.nii.gz", "case1.nii.gz"]
    words = ["predict", "-i", str(images), "-o", str(tmp_path / "own"), "--model", str(model)]
    assert main([*words, "--device", "cpu"]) == 0
    for made in outputs.iterdir():
        assert read_geometry(made) == read_geometry(images / made.name.replace(".", "_0000.", 1))
        np.testing.assert_array_equal(read_label(made).data, read_label(tmp_path / "own" / made.name).data)
