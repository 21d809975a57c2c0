from __future__ import annotations

import threading
from types import SimpleNamespace

import kornia.augmentation as K
import numpy as np
import pytest
import torch
from torchvision.datasets import ImageFolder

import fastaug as fa
from fastaug.extra import batch_seed, run_extra
from fastaug.machine.device import PlainDevice

from .conftest import draw_plan
from .execute.test_cuda_executor import raw, simulate
from .simulated import SimulatedDevice, Stream

CROP = [fa.RandomResizedCrop(32), fa.RandomHorizontalFlip()]
AUGMENT = [*CROP, fa.MixUp(0.4), fa.Normalize()]


def module():
    return K.AugmentationSequential(
        K.RandomGaussianNoise(std=0.1, p=0.7),
        K.RandomAffine(20.0, p=0.5),
        K.RandomErasing(p=0.5),
        data_keys=["input"],
        random_apply=2,
    )


def noise(images):
    return images + torch.randn_like(images)


def make(photos, **options):
    given = dict(batch_size=8, shuffle=True, augment=AUGMENT, seed=4, device="cpu", extra=module())
    return fa.loader(photos, **given | options)


def whole_epoch(loader, epoch=2):
    loader.set_epoch(epoch)
    return [images.clone() for images, *_ in loader]


def test_kornias_modules_run_on_the_batch_after_ours(photos):
    seen = []

    def look(images):
        seen.append(images.clone())
        return module()(images)

    with make(photos, extra=None) as plain, make(photos, extra=look) as loader:
        ours, theirs = list(plain), list(loader)
    for (a, t), (b, u), given in zip(ours, theirs, seen, strict=True):
        assert torch.equal(a, given)  # normalized and mixed already
        assert a.shape == b.shape
        assert not torch.equal(a, b)
        assert torch.equal(t, u)  # labels are left alone


def test_a_batch_depends_on_nothing_that_was_drawn_before(photos):
    with make(photos) as loader:
        want = whole_epoch(loader)
        assert not torch.equal(want[0], want[1])
        other = whole_epoch(loader, 3)
    assert not any(torch.equal(a, b) for a, b in zip(want, other, strict=True))
    torch.manual_seed(123)
    with make(photos, num_workers=2, prefetch_factor=4) as loader:
        loader.set_epoch(7)
        next(iter(loader))  # broken off
        torch.randn(5)
        assert all(torch.equal(a, b) for a, b in zip(whole_epoch(loader), want, strict=True))


def test_resuming_and_replaying_give_the_same_again(photos, tmp_path):
    with make(photos, with_plan=True) as loader:
        loader.set_epoch(2)
        batches, states = [], []
        for images, targets, plan in loader:
            batches.append((images.clone(), targets.clone(), plan))
            states.append(loader.state_dict())
        batches[-1][2].save(tmp_path / "p.npz")
    with make(photos, with_plan=True) as loader:
        for images, targets, plan in reversed(batches):
            again = loader.replay(plan)
            assert torch.equal(again[0], images)
            assert torch.equal(again[1], targets)
        last = loader.replay(fa.BatchPlan.load(tmp_path / "p.npz"))
        assert torch.equal(last[0], batches[-1][0])
        loader.load_state_dict(states[1])
        rest = list(loader)
    assert len(rest) == len(batches) - 2
    assert all(torch.equal(a[0], b[0]) for a, b in zip(rest, batches[2:], strict=True))


def test_ranks_draw_differently_and_replay_without_knowing_theirs(photos):
    zeros = [fa.Resize((24, 24)), fa.Cutout(24, fill=0.0)]  # what remains is what extra adds
    options = dict(augment=zeros, extra=lambda images: noise(images * 0), with_plan=True, batch_size=4)
    made = []
    for rank in range(2):
        with make(photos, rank=rank, world_size=2, **options) as loader:
            made.append([(x.clone(), p) for x, _, p in loader])
    assert not any(torch.equal(a[:2], b[:2]) for (a, _), (b, _) in zip(*made, strict=True))
    with make(photos, **options) as alone:
        for images, plan in made[1]:
            assert torch.equal(alone.replay(plan)[0], images)
    n, given = len(ImageFolder(photos)), []
    for rank in range(2):  # under a user's own sampler both ranks visit the same samples
        own = dict(sampler=range(n), shuffle=None)
        with make(photos, rank=rank, world_size=2, **options | own) as loader:
            given.append(next(iter(loader))[0])
    assert not torch.equal(*given)


def test_every_batch_of_some_epochs_has_a_seed_of_its_own():
    plans = [
        draw_plan(CROP, 4, epoch=epoch, first=4 * step, step=step)
        for epoch in range(20)
        for step in range(50)
    ]
    assert len({batch_seed(plan) for plan in plans}) == len(plans)
    assert batch_seed(plans[0]) != batch_seed(draw_plan(CROP, 4, seed=1))
    assert 0 <= min(map(batch_seed, plans)) < 2**62 < max(map(batch_seed, plans)) < 2**64


def test_the_users_random_numbers_are_untouched(photos):
    with make(photos, extra=noise) as loader:
        torch.manual_seed(9)
        want, state = torch.randn(4), torch.get_rng_state()
        torch.manual_seed(9)
        first, batches = torch.randn(4), list(loader)
        assert torch.equal(first, want)
        assert torch.equal(torch.get_rng_state(), state)
    assert len(batches) > 1


def test_a_training_loop_that_draws_meanwhile_changes_nothing(photos):
    """The module runs on the loop's own thread, so its numbers cannot mix with dropout's."""
    threads = set()

    def noted(images):
        threads.add(threading.current_thread())
        return noise(images)

    with make(photos, extra=noise) as loader:
        want = whole_epoch(loader)
    torch.manual_seed(0)
    dropped = [torch.rand(1000) for _ in want]
    torch.manual_seed(0)
    with make(photos, extra=noted, num_workers=2) as loader:
        loader.set_epoch(2)
        for (images, _), numbers, same in zip(loader, dropped, want, strict=True):
            assert torch.equal(images, same)
            assert torch.equal(torch.rand(1000), numbers)
    assert threads == {threading.main_thread()}


def test_numbers_are_given_back_when_the_module_fails(photos):
    calls = []

    def failing(images):
        torch.rand(3)
        calls.append(0)
        if len(calls) == 2:
            raise RuntimeError("theirs")
        return images

    with make(photos, extra=failing) as loader:
        state, batches = torch.get_rng_state(), iter(loader)
        next(batches)
        with pytest.raises(RuntimeError, match="theirs"):
            next(batches)
        assert torch.equal(torch.get_rng_state(), state)
        assert len(list(batches)) == len(loader) - 1  # the batch is tried again


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_what_it_sees_and_what_is_delivered(photos, dtype, layout):
    seen = []

    def look(images):
        seen.append((images.dtype, images.min() >= 0, images.max() <= 1, torch.is_grad_enabled()))
        return images.double()

    with make(photos, augment=CROP, extra=look, dtype=dtype, memory_format=layout) as loader:
        images, targets = next(iter(loader))
    assert seen == [(dtype, True, True, False)]
    assert images.dtype == dtype
    assert images.is_contiguous(memory_format=layout)
    assert targets.dtype == torch.int64


def test_a_module_keeps_its_mode_and_size_may_change(photos):
    net = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.AvgPool2d(2))
    with make(photos, extra=net) as loader, make(photos, extra=torch.nn.AvgPool2d(2)) as pooled:
        dropped, plain = next(iter(loader))[0], next(iter(pooled))[0]
        assert dropped.shape == (8, 3, 16, 16)
        assert not torch.equal(dropped, plain)
        net.eval()
        assert torch.equal(whole_epoch(loader)[0], whole_epoch(pooled)[0])
        assert not net.training


def test_it_runs_on_the_stream_that_asks_for_the_batch(photos, monkeypatch):
    with fa.loader(photos, 8, augment=CROP, device="cpu", seed=0) as loader:
        want = [raw(images).copy() for images, _ in loader]
    device = simulate(monkeypatch, SimulatedDevice())
    user, streams = Stream("user"), []

    def look(images):
        streams.append(device.current())
        return images

    # The simulated device holds "CUDA" tensors in host memory, where their device reads cpu.
    with fa.loader(photos, 8, augment=CROP, decode="cpu", extra=look, seed=0) as loader:
        with device.on(user):
            reads = [device.read(images) for images, _ in loader]
        device.synchronize()
    assert all((a == b).all() for a, b in zip(reads, want, strict=True))
    assert streams == [user] * len(want)


def test_an_empty_batch_is_not_given_to_it():
    plan, images = draw_plan(CROP, 3).take([]), torch.zeros(0, 3, 32, 32)
    assert run_extra(None, plan, images, None, PlainDevice(torch.device("cpu"))) is images


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        (dict(extra=[noise]), TypeError, r"a torch.nn.Module.*not \[<function.*AugmentationSequential"),
        (dict(extra=K.RandomErasing), TypeError, r"the class RandomErasing; .*extra=RandomErasing\(\.\.\.\)"),
        (dict(augment=CROP, dtype=torch.uint8), ValueError, "uint8.*choose a float dtype"),
        (dict(device="meta", executor="kornia"), ValueError, "CPU or a CUDA device, not on meta"),
    ],
)
def test_what_cannot_be_run_is_refused_at_once(photos, options, error, words):
    with pytest.raises(error, match=words):
        make(photos, **options)


@pytest.mark.parametrize(
    ("extra", "error", "words"),
    [
        (lambda x: (x, x), TypeError, "must return a tensor, not tuple; labels stay"),
        (lambda x: None, TypeError, "must return a tensor, not NoneType"),
        (lambda x: x[1:], ValueError, r"keep the batch's 8 images.*shape \(7, 3, 32, 32\)"),
        (lambda x: x.sum(), ValueError, r"keep the batch's 8 images.*shape \(\)"),
        (lambda x: x.to("meta"), ValueError, "on meta, and the loader delivers on cpu"),
    ],
)
def test_what_comes_back_is_checked(photos, extra, error, words):
    with make(photos, extra=extra) as loader, pytest.raises(error, match=words):
        next(iter(loader))


def test_a_graphics_cards_generator_is_kept_too():
    """A second generator stands in for the card's."""
    card = torch.Generator().manual_seed(5)
    state = card.get_state()
    device = SimpleNamespace(generators=lambda: (torch.default_generator, card))
    plan, images = draw_plan(CROP, 2), torch.zeros(2, 3, 4, 4)
    output = SimpleNamespace(dtype=torch.float32, channels_last=False)

    def both(x):
        return x + torch.rand(2, 3, 4, 4) + 10 * torch.rand(2, 3, 4, 4, generator=card)

    first = run_extra(both, plan, images, output, device)
    card.manual_seed(1)
    assert torch.equal(run_extra(both, plan, images, output, device), first)
    card.set_state(state)
    run_extra(both, plan, images, output, device)
    assert np.array_equal(card.get_state(), state)
