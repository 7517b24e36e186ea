"""Two processes that train as one: gradients averaged and loss sums added as the trainer does it; a line of
JSON.

    python benchmarks/gpu/ranks.py [--device cpu]

On two cards with NCCL. On one with gloo; NCCL has so far refused two processes on one card, and what it says
to that is noted. On CPUs with gloo.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import torch
from limited import run_python
from torch import Tensor, distributed, nn

from trainers.parallel import Ranks, sum_over_ranks

LIMIT_S = {"cuda": 25.0, "cpu": 90.0}  # of each attempt
SIDE, KERNEL = 16, 3


def run_ranks(device: str, backend: str) -> dict[str, Any]:
    """Both processes; what the first printed, or what went wrong."""
    words = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", __file__)
    options = ("--device", device, "--backend", backend, "--rank")
    ended = run_python((*words, *options), LIMIT_S[device], with_children=False)
    lines = [line for line in ended.output.splitlines() if line.startswith("{")]
    if ended.code != 0 or not lines:
        said = [line.strip() for line in ended.errors.splitlines() if "rror" in line or "stopped" in line]
        return {"backend": backend, "as_expected": False, "said": said[-4:]}
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer


def one_rank(device_kind: str, backend: str) -> dict[str, Any]:
    """A step of a small network by the trainer's own means; every weight's gradient is the mean over ranks of
    images · positions · value, and the sum over ranks is theirs."""
    distributed.init_process_group(backend)
    number, count = distributed.get_rank(), distributed.get_world_size()
    device = torch.device("cpu")
    if device_kind == "cuda":
        device = torch.device("cuda", number % torch.cuda.device_count())
        torch.cuda.set_device(device)
    votes = distributed.new_group(backend="gloo")
    ranks = Ranks(number, count, device, votes)
    model = ranks.wrap(nn.Conv2d(1, 4, KERNEL).to(device))
    images: Tensor = torch.full((2, 1, SIDE, SIDE), float(number + 1), device=device)
    total = sum_over_ranks(model(images).sum()[None])
    total.sum().backward()
    gradient = next(model.parameters()).grad
    stop, furthest = ranks.agree(number == 1, number / 2)
    distributed.destroy_process_group()
    if gradient is None:
        raise SystemExit("no gradient")
    found = gradient.flatten()[0].item()
    # adding up multiplies each rank's gradient by their number, averaging divides it again
    expected = sum(2 * (SIDE - KERNEL + 1) ** 2 * (each + 1) for each in range(count))
    good = abs(found - expected) < 1e-3 * expected and stop and furthest == (count - 1) / 2
    return {"backend": backend, "rank": number, "gradient": found, "as_expected": good}


def main() -> None:
    """Run both ranks, or be one of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--backend", choices=("nccl", "gloo"))
    parser.add_argument("--rank", action="store_true", help="be one of the processes")
    arguments = parser.parse_args()
    if arguments.rank:
        answer = one_rank(arguments.device, arguments.backend)
        if answer["rank"] == 0:
            print(json.dumps(answer), flush=True)
        return
    cards = torch.cuda.device_count() if arguments.device == "cuda" else 0
    result: dict[str, Any] = {"cards": cards}
    if cards:
        result["nccl"] = run_ranks(arguments.device, "nccl")
    if cards < 2:
        result["gloo"] = run_ranks(arguments.device, "gloo")
    needed = result["nccl" if cards > 1 else "gloo"]
    print(json.dumps(result), flush=True)
    sys.exit(0 if needed["as_expected"] else 1)


if __name__ == "__main__":
    main()
