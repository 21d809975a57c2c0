from __future__ import annotations

import gc
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

import fastaug as fa
from fastaug.sampling.epoch import Ticket

from .conftest import write_corrupt

AUGMENT = [
    fa.RandomResizedCrop(48),
    fa.RandomHorizontalFlip(),
    fa.GridMask((10, 20), p=0.5),
    fa.HideAndSeek((0, 8)),
    fa.Cutout(12),
    fa.RandomErasing(value="random"),
    fa.Normalize(),
]
MIXED = [*AUGMENT[:-1], fa.OneOf([fa.MixUp(0.4), fa.CutMix(1.0)]), fa.Normalize()]


def by_sample(photos, epoch=1, consumed=0, **options):
    """Sample number -> image, over one epoch."""
    out = {}
    with fa.loader(photos, shuffle=True, augment=AUGMENT, with_plan=True, seed=5, **options) as loader:
        loader.set_epoch(epoch)
        if consumed:
            loader.load_state_dict({**loader.state_dict(), "epoch": epoch, "consumed": consumed})
        for images, _, plan in loader:
            for k in np.flatnonzero(plan["repeat"] == 0):
                assert int(plan["index"][k]) not in out
                out[int(plan["index"][k])] = images[k].clone()
    return out


def test_a_sample_depends_on_seed_epoch_and_itself_alone(photos):
    """Batch size, threads, ranks, prefetching, executor's chunks and a resume change no byte."""
    want = by_sample(photos, batch_size=7, num_workers=1)
    n = len(want)
    assert sorted(want) == list(range(len(ImageFolder(photos))))
    for batch_size in (1, 7, 64):
        for workers in (1, 2):
            got = by_sample(photos, batch_size=batch_size, num_workers=workers)
            assert sorted(got) == sorted(want)
            assert all(torch.equal(got[i], want[i]) for i in want)
    ranks = [by_sample(photos, batch_size=4, num_workers=2, rank=r, world_size=3) for r in range(3)]
    assert sum(map(len, ranks)) == n
    assert all(torch.equal(image, want[i]) for part in ranks for i, image in part.items())
    resumed = by_sample(photos, batch_size=5, prefetch_factor=4, consumed=14)
    assert len(resumed) == n - 14
    assert all(torch.equal(image, want[i]) for i, image in resumed.items())
    other = by_sample(photos, epoch=2, batch_size=7)
    assert not any(torch.equal(other[i], want[i]) for i in want)


def test_resume_at_every_batch_is_exact_with_mixing(photos):
    options = dict(batch_size=6, shuffle=True, augment=MIXED, seed=1, num_workers=2)
    with fa.loader(photos, **options) as loader:
        loader.set_epoch(3)
        whole, states = [], []
        for batch in loader:
            whole.append(batch)
            states.append(loader.state_dict())
        second = [x for x, _ in loader]
    for k, state in enumerate(states):
        with fa.loader(photos, **options) as loader:
            loader.load_state_dict(state)
            loader.set_epoch(3)
            rest = list(loader)
            assert len(rest) == len(whole) - k - 1
            for (a, s), (b, t) in zip(rest, whole[k + 1 :], strict=True):
                assert torch.equal(a, b)
                assert torch.equal(s, t)
            assert all(torch.equal(a, b) for (a, _), b in zip(loader, second, strict=True))


def test_replay_gives_the_batch_again(photos, tmp_path):
    with fa.loader(photos, 8, True, augment=MIXED, with_plan=True, label_smoothing=0.1) as loader:
        images, targets, plan = list(loader)[-2]
        plan.save(tmp_path / "p.npz")
        again, again_targets, _ = loader.replay(fa.BatchPlan.load(tmp_path / "p.npz"))
        assert torch.equal(images, again)
        assert torch.equal(targets, again_targets)
    small = fa.loader(photos, 8, augment=[fa.RandomResizedCrop(20)])
    with small as other, pytest.raises(ValueError, match="48x48"):
        other.replay(plan)


def test_breaking_out_starts_cleanly_and_epochs_advance(photos):
    with fa.loader(photos, 4, True, augment=AUGMENT, with_plan=True) as loader:
        for _ in range(3):
            next(iter(loader))
        plan = next(iter(loader))[2]
        assert plan.epoch == 3
        loader.set_epoch(0)
        batches = list(loader)
        assert batches[0][2].epoch == 0
        assert len(batches) == len(loader)


def test_sources_give_the_same_images(photos):
    folder = ImageFolder(photos)
    samples = folder.samples
    sources = [photos, Path(photos), folder, samples, [(Path(p).read_bytes(), c) for p, c in samples]]
    batches = []
    for source in sources:
        with fa.loader(source, 9, True, augment=AUGMENT, seed=3) as loader:
            batches.append(next(iter(loader)))
    for images, targets in batches[1:]:
        assert torch.equal(images, batches[0][0])
        assert torch.equal(targets, batches[0][1])


def test_arrays_cifar_style():
    class Cifar:
        data = np.random.default_rng(0).integers(0, 256, (50, 32, 32, 3), np.uint8)
        targets = [i % 10 for i in range(50)]

    with fa.loader(Cifar(), 16, augment=[], dtype=torch.uint8) as loader:
        images, targets = next(iter(loader))
        assert (images.permute(0, 2, 3, 1).numpy() == Cifar.data[:16]).all()
        assert targets.tolist() == Cifar.targets[:16]
        assert [len(x) for x, _ in loader] == [16, 16, 16, 2]
    with fa.loader(
        (Cifar.data, Cifar.targets), 16, augment=[fa.RandomResizedCrop(24), fa.MixUp(1.0)], num_classes=10
    ) as loader:
        images, targets = next(iter(loader))
        assert images.shape == (16, 3, 24, 24)
        assert targets.shape == (16, 10)


def test_own_samplers(photos):
    from torch.utils.data import BatchSampler, SequentialSampler, WeightedRandomSampler

    n = len(ImageFolder(photos))
    weighted = WeightedRandomSampler([1.0] * n, 20)
    with fa.loader(photos, 5, sampler=weighted, augment=AUGMENT, with_plan=True) as loader:
        assert len(loader) == 4
        assert sum(len(x) for x, _, _ in loader) == 20
    batches = BatchSampler(SequentialSampler(range(n)), 6, False)
    with fa.loader(photos, batch_sampler=batches, augment=AUGMENT, with_plan=True) as loader:
        assert [p["index"].tolist() for _, _, p in loader] == list(batches)
    with fa.loader(photos, 6, sampler=[0] * 6, augment=AUGMENT) as loader:
        images = next(iter(loader))[0]
        assert not torch.equal(images[0], images[1])


def test_evaluation_keeps_order_and_the_short_batch(photos):
    with fa.loader(photos, 16, augment="imagenet-eval", with_plan=True) as loader:
        plans = [plan for _, _, plan in loader]
    n = len(ImageFolder(photos))
    assert np.concatenate([p["index"] for p in plans]).tolist() == list(range(n))
    assert len(plans[-1]) == n % 16 or 16


def test_a_bad_file_is_named_and_the_next_batch_comes(photos, tmp_path):
    import shutil

    root = Path(shutil.copytree(photos, tmp_path / "photos"))
    bad = write_corrupt(root)
    (bad.parent / "empty.jpg").write_bytes(b"")
    options = dict(batch_size=4, augment=AUGMENT, with_plan=True)
    with fa.loader(root, **options) as loader:
        good, errors, iterator = 0, [], iter(loader)
        while True:
            try:
                good += len(next(iterator)[0])
            except fa.DecodeError as error:
                errors.append(error)
            except StopIteration:
                break
        assert errors
        assert any("broken.jpg" in str(e) for e in errors)
        assert any("empty.jpg" in str(e) for e in errors)
        assert good + 4 * len(errors) >= len(loader) * 4 - 4
        assert len(loader.bad_files) == 2
    with fa.loader(root, on_error="skip", **options) as loader:
        seen = {
            loader._engine.source.name(int(i)): x
            for images, _, p in loader
            for i, x in zip(p["index"], images, strict=True)
        }
        assert not {n for n in seen if "broken" in n or "empty" in n}
        assert len(seen) == len(ImageFolder(photos))


def test_a_file_that_changes_is_read_anew(photos, tmp_path):
    folder = tmp_path / "d" / "a"
    folder.mkdir(parents=True)
    Image.new("RGB", (80, 60), "red").save(folder / "0.png")
    with fa.loader(tmp_path / "d", 1, augment=[fa.RandomResizedCrop(16)], with_plan=True) as loader:
        next(iter(loader))
        Image.new("RGB", (20, 10), "blue").save(folder / "0.png")
        os.utime(folder / "0.png", ns=(1, 1))
        images, _, plan = next(iter(loader))
        assert plan["h"][0] <= 10
        assert images[0, :, 8, 8].tolist() == [0.0, 0.0, 1.0]


def test_the_index_is_cached(photos, monkeypatch):
    from fastaug.data import scanned
    from fastaug.data.cache import name_of
    from fastaug.data.datasets import as_listing
    from fastaug.files import cache_folder

    listing = as_listing(photos)
    first = scanned.open_scanned(listing)
    monkeypatch.setattr(scanned, "scan_headers", lambda listing: pytest.fail("scanned again"))
    again = scanned.open_scanned(listing)
    every = np.arange(len(listing))
    for name in ("height", "width", "kind"):
        assert (
            getattr(again.describe(Ticket.of(every)), name) == getattr(first.describe(Ticket.of(every)), name)
        ).all()
    file = cache_folder() / name_of(listing)
    file.write_bytes(file.read_bytes()[:100])
    monkeypatch.undo()
    scanned.open_scanned(listing)


@pytest.mark.parametrize("executor", ["native", "kornia"])
def test_formats(executor, photos):
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        with fa.loader(
            photos, 4, augment=MIXED, dtype=dtype, memory_format=torch.channels_last, executor=executor
        ) as loader:
            images, targets = next(iter(loader))
        assert images.dtype == dtype
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert targets.dtype == torch.float32


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_memory_does_not_grow(photos):
    with fa.loader(photos, 8, True, num_workers=2, augment=MIXED, on_error="skip") as loader:

        def batches(count):
            while count > 0:
                for _ in loader:
                    count -= 1
                    if count <= 0:
                        break

        batches(60)
        gc.collect()
        before = resident()
        batches(200)
        gc.collect()
        assert resident() - before < 24 << 20  # 200 batches that leaked their output would be 44 MB


def test_the_pool_keeps_memory_while_a_view_lives(photos):
    with fa.loader(photos, 4, augment=[fa.RandomResizedCrop(32)]) as loader:
        it = iter(loader)
        view = next(it)[0][1:2, 0]
        copy = view.clone()
        for _ in range(2):
            for _ in loader:
                pass
        assert torch.equal(view, copy)


def ours(before=frozenset()):
    return {t for t in threading.enumerate() if t.name.startswith("fastaug")} - before


def handles():
    return len(os.listdir("/proc/self/fd"))


def settled(done, seconds=10.0):
    end = time.monotonic() + seconds
    while not done() and time.monotonic() < end:
        gc.collect()
        time.sleep(0.05)
    return done()


@pytest.mark.parametrize("how", ["close", "collect", "abandon"])
def test_nothing_is_left_behind(photos, how):
    with fa.loader(photos, 4, num_workers=2, augment=AUGMENT) as loader:
        list(loader)  # opens what DALI keeps for good
    others, before = ours(), handles()
    for _ in range(3):
        loader = fa.loader(photos, 4, num_workers=2, augment=AUGMENT)
        iterator = iter(loader)
        next(iterator)
        if how == "close":
            loader.close()
            assert not ours(others)
            with pytest.raises(RuntimeError, match="closed"):
                iter(loader)
            assert list(iterator) == []
        if how == "collect":
            list(iterator)
        del loader, iterator
        assert settled(lambda: not ours(others)), [t.name for t in ours(others)]
    assert settled(lambda: handles() <= before + 2)
