"""Freed memory stays with the process, where there is a glibc."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

COUNT_FAULTS = """
import resource
import numpy as np
from balrsam_pipeline.allocator import keep_freed_memory
if {kept}:
    assert keep_freed_memory()
for _ in range(3):
    np.ones(2**22)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    np.ones(2**22)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these thresholds")
def test_blocks_freed_and_taken_again_cost_no_page_faults() -> None:
    faults = [
        int(
            subprocess.run(
                [sys.executable, "-c", COUNT_FAULTS.format(kept=kept)],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for kept in (False, True)
    ]
    assert faults[1] < 0.5 * faults[0]
