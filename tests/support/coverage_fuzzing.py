"""Coverage-guided fuzzing of the readers that are written in Python, with atheris (an extra: pip install
'.[fuzz]'):

    PYTHONPATH=.:tests python -m support.coverage_fuzzing FOLDER RUNS READER…

For each reader a corpus grows in FOLDER/READER/corpus, from its sound file and tests/fuzz/findings; half of
the inputs are changed as `mutations` does, the others as libFuzzer does. It ends with 0 where everything was
read or refused; else what broke it lies in FOLDER/READER, to be made small (`minimise`) and kept among the
findings.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

FINDINGS = Path(__file__).resolve().parents[1] / "fuzz" / "findings"
PURE = ("balrsam_pipeline", "evaluation", "trainers", "planners")
LONGEST_S, LARGEST_BYTES, MEMORY_MB = 20, 65536, 3000
# images whose headers are read in Python, and everything that is no image
READERS = (
    *("a.nii", "a.nii.gz", "a.tif", "b.tif", "a.mha", "a.nrrd"),
    *("dataset.json", "regions.json", "splits_final.json", "plan.json", "fingerprint.json", "summary.json"),
    *("nnunet_summary.json", "settings.json", "best_configuration.json", "postprocessing.json"),
    *("prediction.json", "case.json", "step.json", "hashes.json", "log.jsonl"),
    *("groups.csv", "strata.csv", "numbers.csv", "cases_00000.safetensors", "model.zip"),
    *("seg.dcm", "inputs.json", "codes.json", "form.json", "stack.json", "v1.json"),
)


def main(folder: Path, runs: int, names: list[str]) -> int:
    """Fuzz each reader in a process of its own; returns how many broke."""
    broken = 0
    for name in names or READERS:
        began = time.monotonic()
        place = folder / name
        corpus = place / "corpus"
        corpus.mkdir(parents=True, exist_ok=True)
        options = [f"-runs={runs}", f"-max_len={LARGEST_BYTES}", f"-timeout={LONGEST_S}", "-verbosity=0"]
        options += [f"-rss_limit_mb={MEMORY_MB}", f"-artifact_prefix={place}/", "-seed=1"]
        command = [sys.executable, "-m", "support.coverage_fuzzing", "--one", name, *options, str(corpus)]
        if (FINDINGS / name).is_dir():
            command.append(str(FINDINGS / name))
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=_environment())
        (place / "log.txt").write_text(done.stdout + done.stderr)
        broken += done.returncode != 0
        grown = sum(1 for _ in corpus.iterdir())
        print(f"{name}: exit {done.returncode}, corpus {grown}, {time.monotonic() - began:.0f} s", flush=True)
    return broken


def _environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1"}


def one(name: str, options: list[str]) -> None:
    """Fuzz one reader in this process; libFuzzer ends it."""
    import tempfile

    import atheris

    with atheris.instrument_imports(include=list(PURE)):
        from support.fuzz_seeds import SEEDS
        from support.fuzzing import readers
        from support.mutations import mutate

        from balrsam_pipeline.errors import BalrsamError

        reader = readers()[name]
    seed = SEEDS[reader.seed]()
    Path(options[-1] if not options[-1].startswith(str(FINDINGS)) else options[-2], "seed").write_bytes(seed)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as place:
        file = Path(place) / "in" / name
        file.parent.mkdir()

        def read(content: bytes) -> None:
            file.write_bytes(content)
            try:
                reader.read(file)
            except BalrsamError as refused:
                if not str(refused):
                    raise AssertionError("refused without a word") from refused

        def change(content: bytes, largest: int, seed: int) -> Any:
            chance = random.Random(seed)
            if chance.random() < 0.5 and content:
                return mutate(content, chance, reader.kind)[:largest]
            return atheris.Mutate(content, largest)

        atheris.Setup([sys.argv[0], *options], read, custom_mutator=change)
        atheris.Fuzz()


def minimise(name: str, content: bytes, same: str) -> bytes:
    """The smallest part of an input, found by leaving out ever smaller pieces, that still ends in `same`."""
    from support.fuzzing import problem_with

    size = len(content) // 2
    while size:
        start = 0
        while start < len(content):
            without = content[:start] + content[start + size :]
            if same in problem_with(name, without):
                content = without
            else:
                start += size
        size //= 2
    return content


if __name__ == "__main__":
    if sys.argv[1] == "--one":
        one(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(main(Path(sys.argv[1]).resolve(), int(sys.argv[2]), sys.argv[3:]))
