"""`python -m balrsam_pipeline` is `balrsam`."""

from __future__ import annotations

import sys

from balrsam_pipeline.cli import main

if __name__ == "__main__":
    sys.exit(main())
