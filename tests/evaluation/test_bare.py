"""The evaluator needs neither torch nor anything that trains: it runs where they are not installed."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

SCRIPT = """
    import sys

    class Blocker:
        blocked = {"torch", "segment_anything", "batchgenerators", "planners", "trainers", "numba"}

        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in self.blocked:
                raise ModuleNotFoundError(f"{name} is not installed here")

    sys.meta_path.insert(0, Blocker())
    import evaluation
    from balrsam_pipeline.cli import main

    for name in evaluation.__all__:
        getattr(evaluation, name)
    predictions, references, output = sys.argv[1:]
    assert main(["evaluate", predictions, references, "--output", output, "--workers", "1"]) == 0
    assert main(["compare", output, output]) == 0
    assert "torch" not in sys.modules
"""


def test_scoring_works_where_torch_is_not_installed(folder_pair: tuple[Path, Path], tmp_path: Path) -> None:
    words = [sys.executable, "-c", textwrap.dedent(SCRIPT), *map(str, folder_pair), str(tmp_path / "out")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "report.html").is_file()


def test_importing_the_package_loads_nothing_heavy() -> None:
    script = (
        "import sys, evaluation, evaluation.cli; print(sorted({'numpy', 'scipy', 'pandas', 'torch', "
        "'SimpleITK'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
