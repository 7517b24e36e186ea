"""The optimiser without the compiler takes the steps that PyTorch's takes."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest
import torch
from torch import nn

from trainers import adamw
from trainers.adamw import EagerAdamW


def trained(kind: type[torch.optim.AdamW], steps: int, resumed: bool = False) -> torch.Tensor:
    torch.manual_seed(0)
    layer = nn.Linear(4, 3)
    groups = [{"params": [layer.weight], "weight_decay": 0.1}, {"params": [layer.bias], "weight_decay": 0.0}]
    optimiser = kind(groups, lr=0.01, fused=True)
    for step in range(steps):
        if resumed and step == steps // 2:
            saved = optimiser.state_dict()
            optimiser = kind(groups, lr=0.5, fused=True)
            optimiser.load_state_dict(saved)
        optimiser.zero_grad()
        layer(torch.full((2, 4), float(step))).square().mean().backward()
        optimiser.step()
    return torch.cat([layer.weight.detach().flatten(), layer.bias.detach()])


def test_steps_are_those_of_pytorch() -> None:
    assert torch.equal(trained(EagerAdamW, 6), trained(torch.optim.AdamW, 6))


def test_it_goes_on_from_what_it_was() -> None:
    assert torch.equal(trained(EagerAdamW, 6, resumed=True), trained(torch.optim.AdamW, 6))


def test_an_adamw_with_a_step_of_its_own_takes_that_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As PyTorch's was until 2.6; Adam's step would add the decay to the gradient, or end."""

    class Own(torch.optim.AdamW):
        def step(self, closure: object = None) -> str:  # type: ignore[override]
            return "its own"

    monkeypatch.setattr(torch.optim, "AdamW", Own)
    of_then = importlib.reload(adamw)
    try:
        assert of_then.EagerAdamW([torch.ones(2, requires_grad=True)]).step() == "its own"
    finally:
        monkeypatch.undo()
        importlib.reload(adamw)


def test_the_compiler_is_not_loaded() -> None:
    step = (
        "import sys, torch; from trainers.adamw import EagerAdamW; w = torch.ones(2, requires_grad=True); "
        "o = EagerAdamW([w], fused=True); o.zero_grad(); w.sum().backward(); o.step(); o.state_dict(); "
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", step], check=False).returncode == 0
