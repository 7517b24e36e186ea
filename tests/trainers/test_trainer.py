"""The loop with a tiny network: memory that runs out, and float16 whose gradients stay broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from support.plans import example_plan
from support.waits import Waits
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from balrsam_pipeline.dataset import parse_labels
from balrsam_pipeline.errors import TrainingError
from balrsam_pipeline.network import preset, random_model
from balrsam_pipeline.network.builder import freeze
from balrsam_pipeline.plan import NetworkPlan
from balrsam_pipeline.progress import Phase
from trainers.augmentation import augment_intensity_batch
from trainers.augmentation_config import AugmentationConfig
from trainers.config import TrainingConfig
from trainers.data import Batch, DeviceBatches
from trainers.gradients import accumulate
from trainers.losses import SegmentationLoss
from trainers.optimisation import Precision, WeightAverage, make_optimiser
from trainers.pace import Budget, Pace
from trainers.parallel import Ranks
from trainers.setup import TrainingForward
from trainers.stopping import StopRequest
from trainers.trainer import MOST_SKIPPED_BY_SCALER, Trainer, TrainerParts, TrainingState

LABELS = parse_labels({"labels": {"background": 0, "organ": 1, "other": 2}}, "dataset.json")
CONFIG = TrainingConfig(epochs=2, steps_per_epoch=4, batch_size=6, learning_rate=0.02, save_every_s=1e9)


class Network(nn.Module):
    """Two convolutions; `room` is how many samples memory holds, and `room_again` how many where blocks are
    computed again; `poison` is what the gradient is multiplied by."""

    def __init__(self, room: int, poison: float = 1.0, room_again: int = 0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.hidden, self.head = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 3, 1)
        self.boundary = nn.Conv2d(4, 1, 1)
        self.room, self.poison, self.room_again = room, poison, room_again
        self.asked_again = 0

    def compute_again(self) -> bool:
        self.asked_again += 1
        less, self.room = self.room_again > self.room, max(self.room, self.room_again)
        return less

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        if len(image) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        hidden = self.hidden(image).relu()
        hidden = hidden if self.poison == 1.0 else hidden * torch.tensor(self.poison)
        return self.head(hidden), self.boundary(hidden)


class Loader:
    """The same random batches for everybody."""

    def batches(self, first_step: int) -> Iterator[Batch]:
        for step in range(first_step, 100):
            rng = np.random.default_rng(step)
            image = rng.normal(size=(6, 1, 8, 8)).astype(np.float32)
            label = rng.integers(0, 3, (6, 8, 8)).astype(np.int16)
            yield Batch(image, label, np.zeros(6, np.uint32))

    def describe(self, step: int) -> str:
        return f"batch {step}"

    def close(self) -> None: ...


class Stream:
    """A device's copies, made at once here."""

    def used(self) -> AbstractContextManager[None]:
        return nullcontext()

    def mark(self) -> None: ...

    def finish(self, mark: None) -> None: ...

    def hand_over(self, mark: None, tensors: tuple[Tensor, ...]) -> None: ...

    def pinned_like(self, tensor: Tensor) -> Tensor:
        return torch.empty_like(tensor)


class Log:
    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def log(self, record: dict[str, Any]) -> None:
        self.records.append(record)

    def close(self) -> None: ...


def make_trainer(network: Network, half: bool = False) -> tuple[Trainer, Log]:
    log = Log()
    weights = dict(network.named_parameters())
    scaler = torch.amp.GradScaler("cpu", enabled=half)
    parts = TrainerParts(
        config=CONFIG,
        augment=lambda image, seeds: image,
        forward=network,
        parameters=tuple(network.parameters()),
        loss=SegmentationLoss(LABELS, CONFIG.loss),
        optimiser=make_optimiser(network, CONFIG),
        average=WeightAverage(weights, CONFIG.ema_width),
        precision=Precision(torch.device("cpu"), torch.float32, scaler),
        loader=Loader(),
        stream=None,
        budget=Budget(CONFIG, lambda: 0.0),
        ranks=Ranks(),
        logger=log,
        stop=StopRequest(),
        pace=Pace(CONFIG, Budget(CONFIG, lambda: 0.0), Phase("fold 0")),
        quick_dice=lambda enough: 0.5,
        train_coarser=lambda times: False,
        compute_again=network.compute_again,
        save=lambda state, kinds: None,
    )
    return Trainer(parts, TrainingState()), log


@pytest.mark.parametrize(("room", "pieces"), [(3, 2), (2, 4), (1, 6)])
def test_a_batch_that_does_not_fit_is_divided_with_the_same_trajectory(room: int, pieces: int) -> None:
    whole, divided = Network(room=6), Network(room=room)
    first, _ = make_trainer(whole)
    second, log = make_trainer(divided)
    assert first.run() and second.run()
    for name, tensor in whole.named_parameters():
        torch.testing.assert_close(dict(divided.named_parameters())[name], tensor, atol=1e-4, rtol=1e-4)
    assert second.state.pieces == pieces
    losses = [[record["loss"] for record in kept.records if record["event"] == "epoch"] for kept in (_, log)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    assert [record["event"] for record in log.records].count("divided") >= 1


def test_the_best_dice_of_smaller_images_is_not_that_of_whole_ones() -> None:
    """Patience waits until images are seen whole, and the first score of those is the best so far."""
    trainer, _ = make_trainer(Network(room=6))
    scores = iter([0.9, 0.9, 0.9, 0.5, 0.6, 0.55])
    seen: list[int] = []
    saved: list[tuple[int, float, tuple[str, ...]]] = []

    def coarser(times: int) -> bool:
        seen.append(times)
        return times > 1

    parts = replace(
        trainer._parts,
        config=replace(CONFIG, max_steps=6, steps_per_epoch=1, coarse_share=0.5, patience=2),
        budget=Budget(replace(CONFIG, max_steps=6, epochs=None), lambda: 0.0),
        quick_dice=lambda enough: next(scores),
        train_coarser=coarser,
        save=lambda state, kinds: saved.append((state.step, state.best_dice, kinds)),
    )
    trainer._parts = parts
    assert trainer.run()
    assert seen == [2, 2, 2, 1, 1, 1]
    assert [(step, dice) for step, dice, kinds in saved if "best" in kinds] == [(1, 0.9), (4, 0.5), (5, 0.6)]
    assert trainer.state.step == 6 and trainer.state.epochs_since_best == 1


@pytest.mark.parametrize("whole", [True, False], ids=["after a whole one", "alone"])
def test_a_quick_validation_that_time_cut_short_beats_none_that_was_whole(whole: bool) -> None:
    """A few patches are easily better than all of them; where there is nothing else they choose, and are no
    measure for what comes."""
    trainer, log = make_trainer(Network(room=6))
    now_s = [0.0]
    saved: list[tuple[int, float]] = []
    settings = replace(CONFIG, epochs=None, max_steps=2, max_minutes=1.0, steps_per_epoch=1 if whole else 2)

    def dice(enough: Callable[[], bool]) -> float:
        if trainer.state.step == 1:
            assert not enough()
            return 0.5
        now_s[0] = 61.0
        assert enough()
        return 0.9

    def save(state: TrainingState, kinds: tuple[str, ...]) -> None:
        if "best" in kinds:
            saved.append((state.step, state.best_dice))

    budget = Budget(settings, lambda: now_s[0])
    trainer._parts = replace(trainer._parts, config=settings, budget=budget, quick_dice=dice, save=save)
    assert trainer.run()
    assert saved == ([(1, 0.5)] if whole else [(2, -1.0)])
    marks = [record.get("quick_dice_cut_short") for record in log.records if record["event"] == "epoch"]
    assert marks == ([None, 1] if whole else [1])


def test_the_best_weights_are_written_before_the_checkpoint_that_knows_of_them() -> None:
    """Killed between the two, a run would go on and take no later weights for the best."""
    trainer, _ = make_trainer(Network(room=6))
    saved: list[tuple[str, ...]] = []
    trainer._parts = replace(
        trainer._parts,
        config=replace(CONFIG, save_every_s=0.0),
        save=lambda state, kinds: saved.append(kinds),
    )
    assert trainer.run()
    assert saved[0] == ("best", "latest")


@pytest.mark.parametrize(("every_s", "expected"), [(60.0, [1, 11, 21, 24]), (0.0, [*range(1, 25), 24])])
def test_checkpoints_that_take_long_to_write_are_written_less_often(
    every_s: float, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Epochs of 61 s and checkpoints of 30 s: the next follows after 20 × 30 s, ten epochs, not after one.
    0 still saves after every epoch; the last is written when training ends."""
    trainer, _ = make_trainer(Network(room=6))
    now_s, saved = [0.0], list[int]()
    monkeypatch.setattr("trainers.trainer.time.monotonic", lambda: now_s[0])

    def dice(enough: Callable[[], bool]) -> float:
        now_s[0] += 61.0
        return 0.5

    def save(state: TrainingState, kinds: tuple[str, ...]) -> None:
        now_s[0] += 30.0
        saved.append(state.step)

    config = replace(CONFIG, epochs=None, max_steps=24, steps_per_epoch=1, save_every_s=every_s)
    trainer._saved_at = 0.0
    trainer._parts = replace(
        trainer._parts, config=config, budget=Budget(config, lambda: 0.0), quick_dice=dice, save=save
    )
    assert trainer.run()
    assert saved == expected


def test_time_for_the_last_validation_is_judged_anew_once_images_are_seen_whole() -> None:
    trainer, _ = make_trainer(Network(room=6))
    judged: list[int] = []
    trainer._validation_s = lambda step_s: float(judged.append(trainer.state.step) or 0)  # type: ignore[method-assign]
    trainer._parts = replace(
        trainer._parts,
        config=replace(CONFIG, max_steps=6, steps_per_epoch=2, coarse_share=0.5),
        budget=Budget(replace(CONFIG, max_steps=6, epochs=None), lambda: 0.0),
        train_coarser=lambda times: times > 1,
    )
    assert trainer.run()
    assert judged == [1, 2, 4], "until the first epoch ends, and from the first whole image until the next"


def test_memory_that_is_too_small_for_one_sample_is_given_up() -> None:
    trainer, _ = make_trainer(Network(room=0))
    with pytest.raises(torch.OutOfMemoryError):
        trainer.run()


def test_with_single_samples_too_large_all_blocks_are_computed_again_and_a_resume_begins_so() -> None:
    network, whole = Network(room=0, room_again=1), Network(room=6)
    trainer, log = make_trainer(network)
    other, _ = make_trainer(whole)
    assert trainer.run() and other.run()
    assert trainer.state.again and trainer.state.pieces == 6
    divided = [record for record in log.records if record["event"] == "divided"]
    assert divided[-1] == {"event": "divided", "step": 0, "pieces": 6, "again": True}
    for name, tensor in whole.named_parameters():
        torch.testing.assert_close(dict(network.named_parameters())[name], tensor, atol=1e-4, rtol=1e-4)
    resumed = Network(room=0, room_again=1)
    going_on, log = make_trainer(resumed)
    going_on.state = TrainingState(pieces=6, again=True)
    assert going_on.run()
    assert resumed.asked_again == 1
    assert not [record for record in log.records if record["event"] == "divided"]


def test_another_error_is_not_taken_for_want_of_memory() -> None:
    network = Network(room=6)
    network.head = nn.Conv2d(5, 3, 1)
    trainer, _ = make_trainer(network)
    with pytest.raises(RuntimeError, match="channels"):
        trainer.run()


def test_float16_whose_gradients_stay_broken_ends_with_a_message() -> None:
    """The scaler skips such steps in silence; 400 of 400 once counted as a finished training."""
    network = Network(room=6)
    network.hidden.weight.register_hook(lambda gradient: gradient * float("nan"))
    trainer, log = make_trainer(network, half=True)
    with pytest.raises(TrainingError, match="in a row"):
        endless = TrainingConfig(epochs=100, steps_per_epoch=100, batch_size=6, learning_rate=0.02)
        object.__setattr__(trainer._parts, "budget", Budget(endless, lambda: 0.0))
        trainer.run()
    assert trainer.state.step == MOST_SKIPPED_BY_SCALER
    assert [record["event"] for record in log.records].count("skipped") == MOST_SKIPPED_BY_SCALER


def test_float16_may_look_for_its_scale_at_the_start() -> None:
    network, seen = Network(room=6), [0]

    def overflow(gradient: Tensor) -> Tensor:
        seen[0] += 1
        return gradient * (float("inf") if seen[0] <= 3 else 1.0)

    network.hidden.weight.register_hook(overflow)
    trainer, log = make_trainer(network, half=True)
    assert trainer.run()
    assert trainer.state.step == 8
    assert [record["event"] for record in log.records].count("skipped") == 3


class CountedWaits(TorchFunctionMode):
    """Counts calls that would wait for a device: values brought to Python or to the CPU."""

    NAMES = frozenset({"item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__", "nonzero"})

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in self.NAMES:
            self.calls.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("half", [False, True])
def test_a_step_waits_for_the_device_once(half: bool) -> None:
    trainer, _ = make_trainer(Network(room=6), half=half)
    with CountedWaits() as waits:
        assert trainer.run()
    assert waits.calls == ["tolist"] * trainer.state.step


def test_the_next_batch_is_fetched_after_a_step_is_begun_and_before_its_loss_is_read() -> None:
    """So a loader that is ahead never holds up a step: the device computes while the next batch comes."""
    events: list[str] = []
    network = Network(room=6)
    network.head.register_forward_hook(lambda *_: events.append("forward"))

    class Noting(Loader):
        def batches(self, first_step: int) -> Iterator[Batch]:
            for batch in super().batches(first_step):
                events.append("fetched")
                yield batch

    class Reads(CountedWaits):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if getattr(func, "__name__", "") == "tolist":
                events.append("read")
            return func(*args, **(kwargs or {}))

    trainer, _ = make_trainer(network)
    object.__setattr__(trainer._parts, "loader", Noting())
    object.__setattr__(trainer._parts, "stream", Stream())
    with Reads():
        assert trainer.run()
    steps = trainer.state.step
    assert events == ["fetched", *["forward", "fetched", "read"] * steps]


def test_a_slow_device_never_waits_for_a_loader_that_is_ahead() -> None:
    """On a clock of its own a step takes the device 30 ms and a batch the loader 20; reading figures lasts
    until the device has come so far."""
    now = [0.0]

    class Ahead(Loader):
        def batches(self, first_step: int) -> Iterator[Batch]:
            for made, batch in enumerate(super().batches(first_step), start=1):
                now[0] = max(now[0], 20.0 * made)
                yield batch

    class Device(CountedWaits):
        begun = 0.0

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            name = getattr(func, "__name__", "")
            self.begun = now[0] if name == "conv2d" else self.begun
            now[0] = max(now[0], self.begun + 30.0) if name == "tolist" else now[0]
            return func(*args, **(kwargs or {}))

    trainer, _ = make_trainer(Network(room=6))
    object.__setattr__(trainer._parts, "loader", Ahead())
    object.__setattr__(trainer._parts, "stream", Stream())
    with Device():
        assert trainer.run()
    first_batch, steps = 20.0, 30.0 * trainer.state.step
    assert now[0] == first_batch + steps


SMALL = replace(example_plan().configurations["2d"].network, classes=LABELS.classes, input_size=(64, 64))
ADAPTED = replace(SMALL, from_scratch=False, lora_rank=4, adapter_rank=8, input_channels=3)
KINDS = {
    "from scratch": SMALL,
    "adapted": ADAPTED,
    "computed again": replace(ADAPTED, checkpointed_blocks=2, decoder_attention="exact"),
    "pyramid": replace(preset("cnn", LABELS.classes, 1), input_size=(64, 64)),
}


@pytest.mark.parametrize("network", KINDS.values(), ids=KINDS)
def test_between_batch_and_figures_no_operation_waits_for_the_device(network: NetworkPlan) -> None:
    """All of a step but the two figures that are read at its end, on tensors of a device that has no data."""
    card, augmentation = torch.device("meta"), AugmentationConfig(noise_probability=0.0, on_device=True)
    with card:
        model = random_model(network)
        if not network.from_scratch:
            freeze(model)
    channels, config = network.input_channels, TrainingConfig()

    def augment(image: Tensor, seeds: Any) -> Tensor:
        return augment_intensity_batch(image, channels, seeds, augmentation)

    image = np.zeros((2, channels, 64, 64), np.float32)
    batch = Batch(image, np.zeros((2, 64, 64), np.int16), np.arange(2, dtype=np.uint32))
    precision = Precision(torch.device("cpu"), torch.float32, torch.amp.GradScaler("cpu", enabled=False))
    loss = SegmentationLoss(LABELS, config.loss)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    batches = DeviceBatches(iter([batch] * 2), card, augment, Stream())
    with Waits() as waits:
        taken = batches.take()
        total = accumulate(TrainingForward(model), loss, precision, taken.inputs, taken.label_bhw)
        norm = nn.utils.clip_grad_norm_(parameters, 1.0)
        figures = torch.stack([total, norm.detach()])
        batches.fetch()
    assert figures.is_meta
    assert waits.found == []
