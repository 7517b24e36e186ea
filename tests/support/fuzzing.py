"""Feeding damaged files to every reader of outside files: `python -m support.fuzzing FOLDER FIRST LAST
READER…` prints what went wrong.

It runs in a process of its own with little memory, so that a header that announces terabytes cannot have
them, and a reader that crashes or hangs can be named.
"""

from __future__ import annotations

import faulthandler
import json
import random
import resource
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.fuzz_seeds import SEEDS
from support.mutations import mutate

from balrsam_pipeline.errors import BalrsamError

MEMORY_BYTES = 2 * 2**30  # on top of what the libraries take
LONGEST_CPU_S = 5.0
LONGEST_WALL_S = 90.0  # the machine may be busy with other things


@dataclass(frozen=True)
class Reader:
    """What reads a kind of file.

    `seed` names the sound file in SEEDS that damage starts from; `kind` how it is damaged; `read` reads it.
    """

    seed: str
    kind: str
    read: Callable[[Path], Any]


def readers() -> dict[str, Reader]:
    """Every reader of files that come from outside, by name; the heavy imports happen here."""
    from support.fuzz_seeds import tiny_network

    from balrsam_pipeline.dataset import read_description, read_folds, read_groups
    from balrsam_pipeline.imageio import read_geometry, read_image, read_label
    from balrsam_pipeline.inference.best_configuration import read_best
    from balrsam_pipeline.inference.challenge.sockets import sockets_of
    from balrsam_pipeline.inference.dicom.codes import codes_of
    from balrsam_pipeline.inference.postprocessing import read_postprocessing
    from balrsam_pipeline.inference.prediction_json import read_manifest
    from balrsam_pipeline.inference.sharing.install import install_model
    from balrsam_pipeline.network import load_trained
    from balrsam_pipeline.network.checkpoints import read_sam, read_tensors
    from balrsam_pipeline.plan import read_fingerprint, read_plan
    from balrsam_pipeline.preprocessing import read_stored
    from balrsam_pipeline.run.file_hashes import ContentHashes
    from balrsam_pipeline.run.records import read_record
    from evaluation.reports.strata import read_strata
    from evaluation.reports.summary_json import read_summary
    from evaluation.submission.leaderboards import read_form
    from trainers.checkpoints import read_checkpoint
    from trainers.config import read_training_config
    from trainers.loggers.jsonl import read_log

    _, network = tiny_network()

    def pictures(path: Path) -> None:
        for read in (read_geometry, read_label, lambda path: read_image([path])):
            try:
                read(path)
            except BalrsamError:
                continue

    images = {
        name: Reader(name, kind, pictures)
        for name, kind in (
            ("a.nii.gz", "gzip"),
            ("a.nii", "bytes"),
            ("a.mha", "text"),
            ("b.mha", "text"),
            ("a.nrrd", "text"),
            ("b.nrrd", "text"),
            ("a.gipl", "bytes"),
            ("a.png", "png"),
            ("b.png", "png"),
            ("a.bmp", "bytes"),
            ("a.jpg", "bytes"),
            ("a.tif", "bytes"),
            ("a.npz", "zip"),
            ("b.tif", "bytes"),
        )
    }
    return images | {
        "dataset.json": Reader("dataset.json", "json", read_description),
        "regions.json": Reader("regions.json", "json", read_description),
        "splits_final.json": Reader("splits_final.json", "json", read_folds),
        "plan.json": Reader("plan.json", "json", read_plan),
        "fingerprint.json": Reader("fingerprint.json", "json", read_fingerprint),
        "summary.json": Reader("summary.json", "json", read_summary),
        "nnunet_summary.json": Reader("nnunet_summary.json", "json", read_summary),
        "settings.json": Reader("settings.json", "json", read_training_config),
        "best_configuration.json": Reader(
            "best_configuration.json", "json", lambda path: read_best(path.parent)
        ),
        "postprocessing.json": Reader("postprocessing.json", "json", read_postprocessing),
        "prediction.json": Reader("prediction.json", "json", read_manifest),
        "case.json": Reader("case.json", "json", lambda path: read_stored(path.parent, "case")),
        "step.json": Reader("step.json", "json", lambda path: read_record(path.parent, "step")),
        "hashes.json": Reader("hashes.json", "json", lambda path: ContentHashes(path).of([path])),
        "log.jsonl": Reader("log.jsonl", "json", read_log),
        "groups.csv": Reader("groups.csv", "text", read_groups),
        "strata.csv": Reader("strata.csv", "text", lambda path: read_strata(path, "site", ("a", "b", "c"))),
        "numbers.csv": Reader(
            "numbers.csv", "text", lambda path: read_strata(path, "size", tuple("abcdefghijkl"))
        ),
        "cases_00000.safetensors": Reader("cases_00000.safetensors", "bytes", _all_of_a_pack),
        "a.b2nd": Reader("a.b2nd", "bytes", _stored_array),
        "tensors.pth": Reader("tensors.pth", "zip", read_tensors),
        "old.pth": Reader("old.pth", "bytes", read_tensors),
        "sam.pt": Reader("tensors.pth", "zip", lambda path: read_sam(path, "vit_b")),
        "tensors.safetensors": Reader("tensors.safetensors", "bytes", read_tensors),
        "training.safetensors": Reader("training.safetensors", "bytes", read_checkpoint),
        "trained.safetensors": Reader(
            "trained.safetensors", "bytes", lambda path: load_trained(path, network)
        ),
        "slice.dcm": Reader("slice.dcm", "bytes", _dicom),
        "frames.dcm": Reader("frames.dcm", "bytes", _dicom),
        "seg.dcm": Reader("seg.dcm", "bytes", _segments),
        "inputs.json": Reader("inputs.json", "json", lambda path: sockets_of(path.parent)),
        "codes.json": Reader("codes.json", "json", lambda path: codes_of(("liver", "lesion"), path)),
        "form.json": Reader("form.json", "json", read_form),
        "stack.json": Reader("stack.json", "json", _spacing_of_a_stack),
        "v1.json": Reader("v1.json", "json", _v1_description),
        "model.zip": Reader(
            "model.zip", "zip", lambda path: install_model(path, path.parent / "results", True)
        ),
    }


def _dicom(path: Path) -> None:
    """Whatever series the folder holds, and the sources of what is written about it."""
    from balrsam_pipeline.imageio.dicom import find_series, read_series
    from balrsam_pipeline.inference.dicom.sources import read_sources

    for series in find_series(path.parent):
        read_series(series)
        read_sources(series)


def _segments(path: Path) -> None:
    from support.dicom import KINDS, ORIGIN, SHAPE, SPACING

    from balrsam_pipeline.dataset.converters.segmentation import read_segmentation, segment_names
    from balrsam_pipeline.imageio import Geometry

    directions = tuple(float(value) for value in KINDS["oblique"].directions.ravel())
    geometry = Geometry(
        dimension=3, shape_zyx=SHAPE, spacing_mm=SPACING, origin_mm=ORIGIN, direction=directions
    )
    names = segment_names(path)
    read_segmentation(path, geometry, {name: number for number, name in enumerate(names, 1)})


def _spacing_of_a_stack(path: Path) -> None:
    from balrsam_pipeline.imageio import read_geometry

    with tempfile.TemporaryDirectory() as folder:
        stack = Path(folder) / "stack.tif"
        stack.write_bytes(SEEDS["b.tif"]())
        stack.with_suffix(".json").write_bytes(path.read_bytes())
        read_geometry(stack)


def _v1_description(path: Path) -> None:
    """What the converters of Decathlon and nnU-Net v1 folders read of dataset.json."""
    from balrsam_pipeline.dataset.converters import CONVERTERS, Conversion

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "Task01_X"
        for place in ("imagesTr", "labelsTr"):
            (source / place).mkdir(parents=True)
            (source / place / "a.nii.gz").write_bytes(SEEDS["a.nii.gz"]())
        (source / "dataset.json").write_bytes(path.read_bytes())
        for form in ("decathlon", "nnunet_v1"):
            try:
                CONVERTERS[form](Conversion(source=source, target=Path(folder) / form / "Dataset001_X"))
            except BalrsamError:
                continue


def _all_of_a_pack(path: Path) -> None:
    """Read every array of every case, wherever the pack lies."""
    from balrsam_pipeline.preprocessing import CaseStore

    store = CaseStore(path.parent)
    for case in store.cases:
        store.read_image(case)
        store.read_label_slice(case, 0)
        store.foreground(case)


def _stored_array(path: Path) -> None:
    """The image of a preprocessed case, with its checksum and, as older versions wrote it, without."""
    from support.stored import LABELS, make_case

    from balrsam_pipeline.preprocessing import CaseStore, write_case

    case = make_case((2, 5, 6))
    with tempfile.TemporaryDirectory() as folder:
        write_case(Path(folder), "a", case, LABELS)
        facts = json.loads((Path(folder) / "a.json").read_text())
        (Path(folder) / "a.b2nd").write_bytes(path.read_bytes())
        try:
            assert (CaseStore(Path(folder)).read_image("a") == case.image_czyx).all(), "other voxels"
        except BalrsamError:
            facts["stored_bytes"]["a.b2nd"] = path.stat().st_size
            (Path(folder) / "a.json").write_text(json.dumps(facts | {"stored_crc32": {}}))
            image = CaseStore(Path(folder)).read_image("a")
            assert (image.shape[1:], image.dtype) == (case.image_czyx.shape[1:], case.image_czyx.dtype)


def problem_with(name: str, content: bytes) -> str:
    """What goes wrong when a reader is given an input; "" for nothing."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "in" / name
        file.parent.mkdir()
        file.write_bytes(content)
        return _read(readers()[name], file)[0]


def main(folder: Path, first: int, last: int, names: list[str]) -> None:
    """Damage and read; print what is read, the problems, and at the end how many inputs were refused."""
    known = readers()
    _limit_memory()
    faulthandler.enable()
    warnings.simplefilter("ignore")
    refused = 0
    for name in names or known:
        seed = SEEDS[known[name].seed]()
        file = folder / name / "in" / known[name].seed
        file.parent.mkdir(parents=True)
        if name != known[name].seed:
            file = file.with_name(name)
        for number in range(first, last):
            print(f"at {name} {number}", flush=True)
            file.write_bytes(
                mutate(seed, random.Random(zlib.crc32(f"{name} {number}".encode())), known[name].kind)
            )
            problem, was_refused = _read(known[name], file)
            refused += was_refused
            strangers = [
                path
                for path in folder.rglob("*")
                if path.is_file() and path != file and "results" not in path.parts
            ]
            if strangers:
                problem = f"{problem} wrote {strangers}"
            if problem:
                print("problem " + json.dumps([name, number, problem]), flush=True)
        file.unlink(missing_ok=True)  # a damaged pack is removed by its reader
    print(f"refused {refused}")


def _read(reader: Reader, file: Path) -> tuple[str, bool]:
    """What went wrong ("" for nothing), and whether the file was refused as it should be."""
    faulthandler.dump_traceback_later(LONGEST_WALL_S, exit=True)
    started, refused, problem = time.process_time(), False, ""
    try:
        reader.read(file)
    except BalrsamError as error:
        refused = bool(str(error))
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        problem = f"{type(error).__name__}: {str(error)[:200]} ({where.filename}:{where.lineno})"
    taken = time.process_time() - started
    faulthandler.cancel_dump_traceback_later()
    return problem or (f"took {taken:.1f} s of processor time" if taken > LONGEST_CPU_S else ""), refused


def _limit_memory() -> None:
    taken = next(
        int(line.split()[1]) * 1024
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmSize")
    )
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY_BYTES, resource.RLIM_INFINITY))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
