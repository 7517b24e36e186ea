"""AdamW without PyTorch's compiler: a training that compiles nothing need not load it."""

from __future__ import annotations

import inspect

import torch


class EagerAdamW(torch.optim.AdamW):
    """`torch.optim.AdamW`, whose functions are those beneath the decorators that keep `torch.compile` out.

    The decorators load the compiler at the first call: 3 s of the processor and 70 MB in every process that
    trains, whether anything is compiled or not.
    """

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)
    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)
    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))  # Adam's from PyTorch 2.7 on
