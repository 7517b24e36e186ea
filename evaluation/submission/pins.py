"""What a container installs: the package's requirements and all that they bring, in the versions that are
installed here."""

from __future__ import annotations

import logging
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from balrsam_pipeline.errors import PredictionError, installing

LOG = logging.getLogger(__name__)
OWN = "balrsam-pipeline"
DICOM = "dicom"  # the extra that reads enhanced DICOM
LINUX = {
    "sys_platform": "linux",
    "platform_system": "Linux",
    "os_name": "posix",
    "platform_machine": "x86_64",
}
PARTS_OF_TORCH = ("nvidia-", "triton", "cuda-")  # its own pins bring those of its build


def pinned_requirements(*, dicom: bool = False) -> tuple[str, ...]:
    """Lines `name==version`, sorted; extras (tests, GUIs) are left out.

    Args:
        dicom: with the extra that reads enhanced DICOM; where it is not installed here, a warning says what
            the container refuses then.

    A build of torch for one kind of machine (2.13.0+cpu) is asked for by its version alone, which brings the
    build for GPUs of NVIDIA.

    Raises:
        PredictionError: the package, or something that it needs, is not installed here.
    """
    pins: dict[str, str] = {}
    waiting = _needs(_installed(OWN)) + (_needs_of_dicom() if dicom else [])
    while waiting:
        name = waiting.pop()
        if name in pins or name.startswith(PARTS_OF_TORCH):
            continue
        found = _installed(name)
        pins[name] = Version(found.version).public
        waiting += _needs(found)
    return tuple(f"{name}=={version}" for name, version in sorted(pins.items()))


def _needs(found: Distribution, extra: str = "") -> list[str]:
    lines = map(Requirement, found.requires or ())
    return [
        canonicalize_name(line.name)
        for line in lines
        if line.marker is None or line.marker.evaluate(LINUX | {"extra": extra})
    ]


def _needs_of_dicom() -> list[str]:
    """What the extra needs; nothing where it is not installed."""
    names = _needs(_installed(OWN), DICOM)
    try:
        for name in names:
            distribution(name)
    except PackageNotFoundError as missing:
        LOG.warning(
            "%s is not installed here, so it is not in the container either, which refuses enhanced "
            "(multi-frame) DICOM; if such images come, %s and make the container anew",
            missing.name or missing,
            installing(DICOM),
        )
        return []
    return names


def _installed(name: str) -> Distribution:
    try:
        return distribution(name)
    except PackageNotFoundError:
        raise PredictionError(
            name,
            found="not installed",
            expected="an installed package, whose version goes into the image",
            fix="pip install -e .",
        ) from None
