"""What is alive at once, counted by hand."""

from __future__ import annotations

import torch

from balrsam_pipeline.network.live_bytes import LiveBytes


def test_the_peak_is_what_was_alive_at_once() -> None:
    with LiveBytes() as live:
        x = torch.zeros(1000)
        y = x + 1
        del x
        z = y * 2
        del y
    assert (live.now, live.peak) == (4000, 8000)
    assert z.numel() == 1000
    assert live.course[-1] == 8000


def test_views_and_what_was_there_before_take_nothing() -> None:
    before = torch.zeros(1000)
    with LiveBytes([before]) as live:
        view = before.view(10, 100).t()
    assert live.peak == 0
    assert view.shape == (100, 10)


def test_storages_take_whole_blocks() -> None:
    with LiveBytes(block_bytes=512) as live:
        x = torch.zeros(1)
    assert live.now == 512 * x.numel()


def test_nothing_is_allocated_on_the_meta_device() -> None:
    with LiveBytes() as live:
        torch.empty(2**40, device="meta")
    assert live.peak == 2**42
