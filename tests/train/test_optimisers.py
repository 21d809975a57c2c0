"""Schedules against closed formulas at every step; optimizers; the advice's rates."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from fastaug.train.config import Config
from fastaug.train.optimisers import (
    groups,
    make_average,
    make_optimizer,
    make_schedule,
    restore_optimizer,
    update_average,
)
from fastaug.train.settings import fine_tuning_rate, resolve, top_rate

STEPS, EPOCHS = 7, 12


def rates(**options) -> list[float]:
    """The rate of every step of a run of 12 epochs of 7 steps at top rate 0.4."""
    config = Config(data=["x"], epochs=EPOCHS, lr=0.4, **options)
    rate = make_schedule(config, resolve(config, images=1000), STEPS)
    return [rate(step) for step in range(STEPS * EPOCHS)]


def close(found: list[float], formula) -> None:
    expected = [formula(t) for t in range(STEPS * EPOCHS)]
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


TOTAL = STEPS * EPOCHS


@pytest.mark.parametrize("warmup", [0, 5])
@pytest.mark.parametrize(
    ("schedule", "options", "main"),
    [
        ("cosine", {}, lambda t, w: 0.4 * (1 + math.cos(math.pi * (t - w) / (TOTAL - w))) / 2),
        ("polynomial", {}, lambda t, w: 0.4 * (1 - (t - w) / (TOTAL - w))),
        ("polynomial", {"power": 2.0}, lambda t, w: 0.4 * (1 - (t - w) / (TOTAL - w)) ** 2),
        ("exponential", {}, lambda t, w: 0.4 * 0.97 ** ((t - w) / STEPS)),
        ("exponential", {"gamma": 0.5}, lambda t, w: 0.4 * 0.5 ** ((t - w) / STEPS)),
        ("piecewise", {}, lambda t, w: 0.4 * 0.1 ** (t // (3 * STEPS))),
        ("piecewise", {"step_epochs": 2.0, "gamma": 0.2}, lambda t, w: 0.4 * 0.2 ** (t // (2 * STEPS))),
        ("constant", {}, lambda t, w: 0.4),
    ],
)
def test_every_rate_follows_its_formula(schedule, options, main, warmup):
    w = warmup * STEPS
    found = rates(schedule=schedule, warmup_epochs=float(warmup), **options)
    close(found, lambda t: 0.4 * t / w if t < w else main(t, w))


def test_resnet50s_published_schedule():
    """0.1, divided by 10 every 30 of 120 epochs."""
    config = Config(data=["x"], epochs=120, batch_size=256, schedule="piecewise")
    settings = resolve(config, images=1_281_167)
    assert (settings.lr, settings.step_epochs, settings.gamma) == (0.1, 30, 0.1)
    schedule = make_schedule(config, settings, steps=2)
    for epoch, rate in ((0, 0.1), (29, 0.1), (30, 0.01), (59, 0.01), (60, 1e-3), (90, 1e-4), (119, 1e-4)):
        assert [schedule(2 * epoch), schedule(2 * epoch + 1)] == pytest.approx([rate, rate]), epoch


@pytest.mark.parametrize(("batch", "world", "accumulate"), [(256, 1, 1), (256, 4, 1), (64, 8, 4), (32, 1, 1)])
def test_the_rate_scales_with_the_images_a_step(batch, world, accumulate):
    config = Config(data=["x"], batch_size=batch, accumulate=accumulate)
    settings = resolve(config, images=1000, world_size=world)
    step = batch * world * accumulate
    assert settings.lr == pytest.approx(0.1 * step / 256)
    assert settings.warmup_epochs == (5 if step > 256 else 0)


@pytest.mark.parametrize(
    ("images", "rate"),
    [
        (10, 0.001),
        (999, 0.001),
        (1_000, 0.001),
        (4_000, 0.002),
        (25_000, 0.005),
        (100_000, 0.01),
        (10**6, 0.01),
    ],
)
def test_fine_tuning_rates(images, rate):
    assert fine_tuning_rate(images) == pytest.approx(rate)
    assert top_rate("sgd", 256, images)[0] == pytest.approx(rate)
    assert top_rate("sgd", 64, images)[0] == pytest.approx(rate / 4)


@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adam", "adamw", "adadelta"])
@pytest.mark.parametrize("norm_decay", [True, False])
def test_each_optimizer_makes_the_loss_fall(name, norm_decay):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
    config = Config(data=["x"], optimizer=name, norm_decay=norm_decay, batch_size=256)
    optimizer = make_optimizer(network, config, resolve(config, images=1000))
    inputs, labels = torch.randn(64, 8), torch.randint(0, 3, (64,))
    losses = []
    for _ in range(60):
        loss = nn.functional.cross_entropy(network(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < 0.9 * losses[0]


def test_norms_and_biases_can_be_spared_decay():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    decayed, spared = groups(network, 1e-4, norm_decay=False)
    assert [p.ndim for p in decayed["params"]] == [4, 2]
    assert all(p.ndim == 1 for p in spared["params"])
    assert len(spared["params"]) == 4
    assert (decayed["weight_decay"], spared["weight_decay"]) == (1e-4, 0)
    (together,) = groups(network, 1e-4, norm_decay=True)
    assert len(together["params"]) == 6


@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adam", "adamw", "adadelta"])
def test_moments_are_restored_and_all_else_is_the_configurations(name):
    inputs = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))

    def made(**options):
        torch.manual_seed(0)
        network = nn.Linear(4, 3)
        config = Config(data=["x"], optimizer=name, **options)
        return network, make_optimizer(network, config, resolve(config, images=1000))

    def step(network, optimizer):
        optimizer.zero_grad()
        network(inputs).square().sum().backward()
        optimizer.step()

    momentum = {"momentum": 0.0} if name in ("sgd", "rmsprop") else {}
    before, old = made(lr=0.01, weight_decay=0.1, **momentum)
    for _ in range(3):
        step(before, old)
    saved = old.state_dict()
    network, optimizer = made(lr=0.02, weight_decay=0.3)
    _, fresh = made(lr=0.02, weight_decay=0.3)
    restore_optimizer(optimizer, saved)
    (group,), (expected,) = optimizer.param_groups, fresh.param_groups
    assert {k: v for k, v in group.items() if k != "params"} == {
        k: v for k, v in expected.items() if k != "params"
    }
    for own, other in zip(network.parameters(), before.parameters(), strict=True):
        for key, value in old.state[other].items():
            assert torch.equal(optimizer.state[own][key], value), key
    step(network, optimizer)  # also where momentum is new


@pytest.mark.parametrize("decay", [0.3, 0.9, 0.9999])
def test_averaged_weights_follow_their_formula(decay):
    """Also through a checkpoint after each step; integer buffers are averaged as integers."""
    network = nn.BatchNorm1d(1)
    average = make_average(network, decay)
    expected = None
    for n, value in enumerate((1.0, 2.0, 4.0, 3.0, 7.0)):
        network.weight.data.fill_(value)
        network.running_mean.fill_(value)
        network.num_batches_tracked += 1
        update_average(average, network, decay)
        now = min(decay, (1 + n) / (10 + n))
        expected = value if expected is None else now * expected + (1 - now) * value
        assert float(average.module.weight) == pytest.approx(expected)
        assert float(average.module.running_mean) == pytest.approx(expected)
        assert average.module.num_batches_tracked.dtype == torch.int64
        state, average = average.state_dict(), make_average(network, decay)
        average.load_state_dict(state)
    assert make_average(network, None) is None


def test_a_short_runs_average_forgets_where_it_began():
    """36 steps at 0.9999: the first weights would have 99.6 % of it."""
    network = nn.Linear(1, 1)
    average = make_average(network, 0.9999)
    for step in range(36):
        network.weight.data.fill_(1000.0 if step == 0 else 1.0)
        update_average(average, network, 0.9999)
    assert float(average.module.weight) == pytest.approx(1, abs=1e-3)
