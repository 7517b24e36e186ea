"""`install_model`: unpack a shared model, trusting nothing that the zip says about itself until it is
checked."""

from __future__ import annotations

import errno
import hashlib
import logging
import stat
import zipfile
import zlib
from collections.abc import Set
from lzma import LZMAError
from pathlib import Path, PurePosixPath

from balrsam_pipeline.dataset import read_description
from balrsam_pipeline.errors import PredictionError
from balrsam_pipeline.execution.whole_folder import scratch_folder
from balrsam_pipeline.extensions import refuse_in_archive
from balrsam_pipeline.inference.sharing.manifest import FORMAT, NAME, ModelManifest, SharedFile
from balrsam_pipeline.json_text import JsonTextError, parse_json
from balrsam_pipeline.layout import BEST_CONFIGURATION, FINGERPRINT, ModelFolder, is_model_name
from balrsam_pipeline.plan import read_plan
from balrsam_pipeline.protect import lies_in
from balrsam_pipeline.serialise import from_json

LARGEST_MANIFEST_BYTES = 2**22
LARGEST_MODEL_BYTES = 20 * 2**30
MOST_FILES = 1000
ENDINGS = (".json", ".md", ".safetensors")
BLOCK = 2**20
OF_A_DAMAGED_ZIP = (None, errno.EINVAL)  # unpacking it gives such errors of the system
LOG = logging.getLogger(__name__)


def install_model(
    archive: Path, results: Path, overwrite: bool = False, limit_bytes: int = LARGEST_MODEL_BYTES
) -> list[Path]:
    """Unpack a shared model into the results folder; returns its model folders.

    Nothing is put in place before every file is unpacked, as large as the manifest says, and of the right
    hash.

    Args:
        overwrite: replace model folders that are there.
        limit_bytes: the most that may be unpacked.

    Raises:
        PredictionError: there is no such file, the zip is no shared model, is damaged, or tries to write
            outside the folder; or the model is there already.
        OSError: the results folder cannot be written to, or the disk is full.
    """
    _require_file(archive)
    results.mkdir(parents=True, exist_ok=True)
    try:
        with (
            zipfile.ZipFile(archive) as opened,
            scratch_folder(results / "install") as folder,
        ):
            manifest = _read_manifest(opened, archive)
            _require_safe(opened, manifest, archive, limit_bytes)
            targets = [results / manifest.dataset / name for name in manifest.models]
            there = {name for name in manifest.models if _is_installed(results, name, manifest)}
            replaced = [target for target in targets if target.name not in there]
            _require_free(replaced, overwrite)
            _require_kept(archive, replaced)
            for name in manifest.files:
                _unpack(opened, name, folder / name, manifest, archive)
            _require_models(folder, manifest, archive)
            _put_in_place(folder, results, manifest, there)
    except (
        OSError,
        zipfile.BadZipFile,
        zlib.error,
        LZMAError,
        EOFError,
        RuntimeError,
        ValueError,
    ) as problem:
        if isinstance(problem, OSError) and problem.errno not in OF_A_DAMAGED_ZIP:
            raise  # the disk is full, the folder may not be written to, …
        raise _refused(archive, f"a file that cannot be unpacked: {problem}") from None
    return targets


def _require_file(archive: Path) -> None:
    if not archive.is_file():
        raise PredictionError(
            archive,
            found="a folder" if archive.is_dir() else "no such file",
            expected="a model made by 'balrsam export_model'",
            fix="check the path",
        )


def _read_manifest(opened: zipfile.ZipFile, archive: Path) -> ModelManifest:
    if NAME not in opened.namelist():
        raise _refused(archive, "a zip without manifest.json")
    with opened.open(NAME) as member:
        text = member.read(LARGEST_MANIFEST_BYTES + 1)
    if len(text) > LARGEST_MANIFEST_BYTES:
        raise _refused(archive, "a manifest.json of more than 4 MiB")
    try:
        value = parse_json(text)
    except JsonTextError as problem:
        raise _refused(archive, f"a manifest.json that is no JSON: {problem}") from None
    manifest = from_json(ModelManifest, value, archive, PredictionError)
    if manifest.format != FORMAT or not manifest.models or not manifest.files:
        raise _refused(archive, f"format '{manifest.format}', {len(manifest.models)} model(s)")
    return manifest


def _require_safe(opened: zipfile.ZipFile, manifest: ModelManifest, archive: Path, limit_bytes: int) -> None:
    """Refuse names that lead outside the folder, links, files that are not in the manifest, and sizes beyond
    the limit."""
    members = opened.infolist()
    names = [item.filename for item in members]
    if len(names) > MOST_FILES or len(set(names)) != len(names) or set(names) - {NAME} != set(manifest.files):
        raise _refused(archive, "members other than those that the manifest lists, or too many")
    for item in members:
        if not _is_safe_name(item.filename):
            raise _refused(archive, f"a member named '{item.filename}'")
        mode = item.external_attr >> 16
        if mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode) != 0:
            raise _refused(archive, f"'{item.filename}', which is a link or no plain file")
    if len(set(manifest.models)) != len(manifest.models):
        raise _refused(archive, f"a model that is named twice among {', '.join(manifest.models)}")
    for name in manifest.models:
        if not is_model_name(name):
            raise _refused(archive, f"a model named '{name}', not CONFIGURATION__balrsam")
    for name in (manifest.dataset, *manifest.models):
        if len(PurePosixPath(name).parts) != 1 or not _is_safe_name(f"{name}.json"):
            raise _refused(archive, f"a model or dataset named '{name}'")
    total = sum(entry.size_bytes for entry in manifest.files.values())
    if total > limit_bytes or any(entry.size_bytes < 0 for entry in manifest.files.values()):
        raise _refused(archive, f"{total / 2**30:.1f} GiB to unpack, more than {limit_bytes / 2**30:.1f}")


def _is_safe_name(name: str) -> bool:
    parts = name.split("/")
    plain = not any(part in ("", ".", "..") or part.startswith(".") for part in parts)
    return plain and "\\" not in name and ":" not in name and name.isprintable() and name.endswith(ENDINGS)


def _unpack(opened: zipfile.ZipFile, name: str, target: Path, manifest: ModelManifest, archive: Path) -> None:
    """Write one member, reading no more than the manifest says it holds."""
    expected = manifest.files[name]
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, left = hashlib.sha256(), expected.size_bytes
    with opened.open(name) as source, target.open("wb") as file:
        while block := source.read(min(BLOCK, left + 1)):
            left -= len(block)
            if left < 0:
                raise _refused(archive, f"'{name}', which is larger than the manifest says")
            digest.update(block)
            file.write(block)
    if left or digest.hexdigest() != expected.sha256:
        raise _refused(archive, f"'{name}', whose content does not have the hash in the manifest")


def _is_installed(results: Path, model: str, manifest: ModelManifest) -> bool:
    """Whether a model folder holds what the archive holds of it, and nothing else."""
    folder = results / manifest.dataset / model
    if folder.is_symlink() or not folder.is_dir():
        return False
    wanted = {
        name: entry
        for name, entry in manifest.files.items()
        if name.startswith(f"{manifest.dataset}/{model}/")
    }
    found = {path.relative_to(results).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return found.keys() == wanted.keys() and all(
        SharedFile.of(path) == wanted[name] for name, path in found.items()
    )


def _require_free(targets: list[Path], overwrite: bool) -> None:
    """Refuse to touch what is there: without `overwrite` anything, with it whatever is no model.

    Raises:
        PredictionError: a target is there.
    """
    for target in targets:
        if not target.exists() and not target.is_symlink():
            continue
        if not overwrite:
            raise PredictionError(
                target,
                found="a model folder already",
                expected="a free place",
                fix="install with --overwrite, or into another --results",
            )
        if target.is_symlink() or not ModelFolder(target).plan.is_file():
            raise PredictionError(
                target,
                found="a link" if target.is_symlink() else "a folder or file that is no model (no plan.json)",
                expected="a model folder to replace, or a free place",
                fix="move it elsewhere, or install into another --results",
            )


def _require_kept(archive: Path, replaced: list[Path]) -> None:
    """Refuse an archive that would go with a folder that it replaces.

    Raises:
        PredictionError: it lies in one.
    """
    for target in replaced:
        if lies_in(archive, target) or lies_in(archive.parent, target):
            raise PredictionError(
                archive,
                found=f"an archive inside {target}, which is to be replaced",
                expected="an archive that lies elsewhere",
                fix="move it out of that folder, then install it again",
            )


def _require_models(folder: Path, manifest: ModelManifest, archive: Path) -> None:
    """The plan and labels of every model can be read, and none names code.

    Raises:
        PredictionError: a plan names a part of a network that is in somebody's package.
    """
    for name in manifest.models:
        model = ModelFolder(folder / manifest.dataset / name)
        plan = read_plan(model.plan)
        plan.configuration(model.configuration)
        for configuration in plan.configurations.values():
            refuse_in_archive(archive, configuration.network.extension)
        read_description(model.description)


def _put_in_place(folder: Path, results: Path, manifest: ModelManifest, there: Set[str]) -> None:
    """Rename the unpacked models into the results folder, but those that are `there` already; what they
    replace is removed last.

    What belongs to all models of the dataset (the choice of the best, the fingerprint, the card) is put there
    only where there is none: it may be about models of one's own.
    """
    (results / manifest.dataset).mkdir(exist_ok=True)
    for name in sorted(there):
        LOG.info("%s: installed already, as it is in the archive", name)
    for index, name in enumerate(name for name in manifest.models if name not in there):
        target = results / manifest.dataset / name
        if target.exists():
            target.rename(folder / f"replaced-{index}")  # removed with the temporary folder
        (folder / manifest.dataset / name).rename(target)
    beside = {folder / manifest.dataset / name: name for name in (BEST_CONFIGURATION, FINGERPRINT)}
    for source, name in {**beside, folder / "README.md": "MODEL_CARD.md"}.items():
        target = results / manifest.dataset / name
        if not source.is_file():
            continue
        if target.is_file() and SharedFile.of(target) == SharedFile.of(source):
            continue
        if target.exists() or target.is_symlink():
            LOG.warning("%s is there and stays as it is; the one in the archive was left out", target)
        else:
            source.rename(target)


def _refused(archive: Path, found: str) -> PredictionError:
    return PredictionError(
        archive,
        found=found,
        expected="a model made by 'balrsam export_model'",
        fix="get the file again from whoever shared it; do not unpack it",
    )
