"""An archive that the disk damages is refused with the project's own error, whichever byte it is."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest

from balrsam_pipeline.errors import PredictionError
from evaluation.submission.archive import file_sha256, verify_archive, write_archive


def test_damage_of_any_byte_is_a_message_and_damage_of_content_is_found(tmp_path: Path) -> None:
    member, archive = tmp_path / "a.csv", tmp_path / "a.zip"
    member.write_bytes(np.random.default_rng(0).integers(0, 20, 100, dtype=np.uint8).tobytes())
    write_archive(archive, {"a.csv": member})
    expected, sound = {"a.csv": file_sha256(member)}, archive.read_bytes()
    verify_archive(archive, expected)
    first, last = sound.index(b"a.csv") + 30, sound.index(b"PK\x01\x02") - 1  # the last byte is filled up
    for place in range(len(sound)):
        for flipped in (0x01, 0x06, 0xFF):  # 0x06: from one way of packing to another
            damaged = bytearray(sound)
            damaged[place] ^= flipped
            archive.write_bytes(damaged)
            content = first <= place < last
            with pytest.raises(PredictionError) if content else contextlib.suppress(PredictionError):
                verify_archive(archive, expected)
