"""`balrsam download_checkpoint`: an official SAM checkpoint into the cache folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from balrsam_pipeline.command import Command


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "backbone", choices=("vit_b", "vit_l", "vit_h"), help="vit_b 375 MB, vit_l 1.2 GB, vit_h 2.6 GB"
    )
    parser.add_argument(
        "--folder",
        type=Path,
        help="where to keep it (else balrsam_checkpoints, else the user's cache folder)",
    )
    parser.add_argument("--url", help="another address of the same file, such as a mirror")


def _run(arguments: argparse.Namespace) -> int:
    from balrsam_pipeline.network.download import fetch
    from balrsam_pipeline.network.official_checkpoints import OFFICIAL
    from balrsam_pipeline.paths import checkpoint_cache

    path = fetch(OFFICIAL[arguments.backbone], arguments.folder or checkpoint_cache(), arguments.url)
    print(f"{path}\nSHA-256 verified; plans with backbone {arguments.backbone} find it there")
    return 0


COMMANDS: dict[str, Command] = {
    "download_checkpoint": Command(
        summary="Fetch an official SAM checkpoint: resumable, SHA-256 verified, kept in a cache folder.",
        example="balrsam download_checkpoint vit_b",
        add_arguments=_add_arguments,
        run=_run,
    )
}
