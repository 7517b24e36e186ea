"""`balrsam download_checkpoint`: a published checkpoint into the cache folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from balrsam_pipeline.command import Command


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", nargs="?", help="a published checkpoint, or a backbone: vit_t, vit_b, vit_l, vit_h"
    )
    parser.add_argument("--list", action="store_true", help="list what is published, with size and domain")
    parser.add_argument(
        "--folder",
        type=Path,
        help="where to keep it (else balrsam_checkpoints, else the user's cache folder)",
    )
    parser.add_argument("--url", help="another address of the same file, such as a mirror or a package index")


def _run(arguments: argparse.Namespace) -> int:
    from balrsam_pipeline.errors import UsageError
    from balrsam_pipeline.network.download import fetch
    from balrsam_pipeline.network.official_checkpoints import published
    from balrsam_pipeline.paths import checkpoint_cache

    if arguments.list:
        print(checkpoint_table())
        return 0
    if arguments.name is None:
        raise UsageError(
            "download_checkpoint",
            found="no name",
            expected="the name of a published checkpoint",
            fix="balrsam download_checkpoint --list shows them",
        )
    checkpoint = published(arguments.name)
    print(f"{checkpoint.name}: {checkpoint.size_mb} MB; licence: {checkpoint.licence}")
    path = fetch(checkpoint, arguments.folder or checkpoint_cache(), arguments.url)
    print(f"{path}\n{checkpoint.digest[0]} verified; plans with checkpoint {checkpoint.name} find it there")
    return 0


def checkpoint_table() -> str:
    """Every published checkpoint with its backbone, size and domain, and whether it is on this machine."""
    from balrsam_pipeline.network.official_checkpoints import DOMAIN_WORDS, PUBLISHED, find_checkpoint

    rows = [
        f"{item.name:<14} {item.backbone:<6} {item.size_mb:>5} MB  {DOMAIN_WORDS[item.domain]:<24} "
        f"{'here' if find_checkpoint(item.name) else ''}".rstrip()
        for item in PUBLISHED.values()
    ]
    return "\n".join(rows)


COMMANDS: dict[str, Command] = {
    "download_checkpoint": Command(
        summary="Fetch a published checkpoint: resumable, its hash verified, kept in a cache folder.",
        example="balrsam download_checkpoint vit_b\nbalrsam download_checkpoint lite_medsam\n"
        "balrsam download_checkpoint --list",
        add_arguments=_add_arguments,
        run=_run,
    )
}
