"""No command overwrites or removes what it reads, nor what somebody else put where it writes.

Files and folders are compared as the file system knows them (device and number), so links, second names of
one file and folders typed in another way are seen through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from balrsam_pipeline.errors import UsageError
from balrsam_pipeline.files import ESCAPED
from balrsam_pipeline.printable import is_utf8

Identity = tuple[int, int]
LISTED = 5  # names shown in a message
OF_FILES = (".html", ".json", ".csv", ".txt", ".md", ".pdf", ".zip")  # endings of files that are no images


def require_apart(output: Path, inputs: Iterable[Path]) -> None:
    """Refuse an output folder in which inputs lie.

    Args:
        output: the folder to write to; it need not exist.
        inputs: files and folders that are read; a folder counts itself, a file where it is named and where it
            really lies.

    Raises:
        UsageError: the output is one of those folders.
    """
    own = identity(output)
    if own is None:
        return
    folders = {folder for path in inputs for folder in _folders_of(path)}
    for folder in sorted(folders):
        if identity(folder) == own:
            raise UsageError(
                output,
                found="the folder that the images are in"
                if output == folder
                else f"the folder that inputs are in: {folder}",
                expected="another folder, so that no input is overwritten",
                fix="give another -o",
            )


def require_not_read(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Refuse output files that are inputs, under whatever name.

    Raises:
        UsageError: one is; nothing was touched.
    """
    read = {identity(path): path for path in inputs}
    read.pop(None, None)
    for path in outputs:
        found = read.get(identity(path))
        if found is not None:
            raise UsageError(
                path,
                found=f"a file that is read: {found}",
                expected="an output that is no input",
                fix="give another -o",
            )


def require_own(
    outputs: Iterable[Path], marker: Path, is_ours: Callable[[Path], bool] = Path.is_file
) -> None:
    """Refuse to replace files in a folder that has no `marker`, the file that says that we made them.

    Args:
        is_ours: whether the marker, which need not exist, is one of ours; by its name, unless others may have
            such a file, too.

    Raises:
        UsageError: there are such files; nothing was touched.
    """
    if is_ours(marker):
        return
    there = [path for path in outputs if path.exists() or path.is_symlink()]
    if there:
        lacking = f"and {marker.name} has other content" if marker.exists() else f"but no {marker.name}"
        raise UsageError(
            marker.parent,
            found=f"{', '.join(path.name for path in there[:LISTED])}"
            f"{' …' if len(there) > LISTED else ''}, {lacking}: not made by this command",
            expected=f"an empty folder, or one that this command made before (with its {marker.name})",
            fix="give another -o, or move those files elsewhere",
        )


def require_outside(output: Path, folder: Path, fix: str) -> None:
    """Refuse an output folder that is `folder` or lies in it.

    Raises:
        UsageError: it is.
    """
    if lies_in(output, folder):
        raise UsageError(
            output, found=f"a place inside {folder}, which is read", expected="a folder outside it", fix=fix
        )


def require_file_place(output: Path, endings: tuple[str, ...]) -> None:
    """Refuse a place for one file that is a folder, or whose name has another ending: a mistyped -o must not
    replace a file of another kind.

    Raises:
        UsageError: it is.
    """
    if output.is_dir() or not output.name.lower().endswith(endings):
        raise UsageError(
            output,
            found="a folder" if output.is_dir() else f"a name that ends in '{output.suffix}'",
            expected=f"the name of a file that ends in {' or '.join(endings)}",
            fix=f"give -o NAME{endings[0]}",
        )


def require_folder_place(output: Path, option: str = "-o") -> None:
    """Refuse a place for a folder that is a file, or whose name is new and ends like a file's: whoever names
    one would find a folder of that name.

    Raises:
        UsageError: it is.
    """
    from balrsam_pipeline.imageio import ALL_ENDINGS

    if output.is_dir():
        return
    ending = next((end for end in (*ALL_ENDINGS, *OF_FILES) if output.name.lower().endswith(end)), "")
    if ending or output.exists():
        raise UsageError(
            output,
            found="a file" if output.exists() else f"the name of a file, which ends in {ending}",
            expected="the name of a folder",
            fix=f"give {option} {output.with_name(output.name[: -len(ending)] or 'FOLDER')}"
            if ending
            else f"give another {option}",
        )


def require_utf8(output: Path, option: str = "-o") -> None:
    """Refuse a place whose name is not UTF-8: the libraries that write images cannot take it.

    Raises:
        UsageError: it is not.
    """
    if not is_utf8(output):
        raise UsageError(
            str(output).encode("utf-8", ESCAPED).decode(),
            found="a name that is not UTF-8",
            expected="a name in UTF-8, which the libraries that write images can take",
            fix=f"give another {option}",
        )


def lies_in(path: Path, folder: Path) -> bool:
    """Whether a path leads to `folder` or to something in it; the folder need not exist."""
    own, resolved = identity(folder), path.resolve()
    return own is not None and any(identity(parent) == own for parent in (resolved, *resolved.parents))


def identity(path: Path) -> Identity | None:
    """Device and number of what a path leads to; None where there is nothing."""
    try:
        state = path.stat()
    except (OSError, ValueError):
        return None
    return state.st_dev, state.st_ino


def _folders_of(path: Path) -> Iterable[Path]:
    if path.is_dir():
        yield path
        return
    yield path.parent
    yield path.resolve().parent
