"""Data sets that are called: what they may give, and that a sample is the same whoever calls it."""

from __future__ import annotations

import io
import itertools
from collections import namedtuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Subset, random_split
from torchvision import datasets as tv
from torchvision.transforms import v2

import fastaug as fa

from .sets import Noisy, Photos, photo

CROP = [fa.RandomResizedCrop(16), fa.RandomHorizontalFlip()]
TRAIN = [*CROP, fa.RandAugment(), fa.Cutout(4), fa.Normalize()]


def epoch(data, batch=6, **options):
    """All images, and the other parts of all batches."""
    with fa.loader(data, batch, **{"seed": 3, "augment": CROP, **options}) as loader:
        batches = list(loader)
    return torch.cat([b[0] for b in batches]), [b[1:] for b in batches]


# ---- keyed ----


@pytest.mark.parametrize("data", [Photos(), Noisy()], ids=["plain", "random code"])
def test_a_sample_is_the_same_at_any_batch_size_number_of_workers_and_ranks(data):
    want, _ = epoch(data, augment=TRAIN)
    for batch, workers in ((5, 0), (6, 1), (4, 2), (24, 3)):
        assert torch.equal(epoch(data, batch, augment=TRAIN, num_workers=workers)[0], want), (batch, workers)
    parts = [epoch(data, 3, augment=TRAIN, num_workers=1, rank=r, world_size=2)[0] for r in range(2)]
    assert torch.equal(torch.stack(parts, 1).flatten(0, 1), want)


def test_random_code_differs_from_epoch_to_epoch_and_seed_to_seed():
    with fa.loader(Noisy(), 24, augment=CROP, seed=3, num_workers=2) as loader:
        first, second = (next(iter(loader))[0] for _ in range(2))
    assert not torch.equal(first, second)
    assert not torch.equal(first, epoch(Noisy(), seed=4)[0])


def test_keyed_false_leaves_random_numbers_to_the_workers():
    with fa.loader(Noisy(), 24, augment=CROP, seed=3, num_workers=2, keyed=False) as loader:
        assert "not keyed" in repr(loader)
        first = next(iter(loader))[0]
    assert not torch.equal(first, epoch(Noisy())[0])
    with pytest.raises(ValueError, match="keyed=True is not possible with workers='thread'"):
        fa.loader(Noisy(), 4, augment=CROP, workers="thread", keyed=True, num_workers=2)
    want = epoch(Photos())[0]
    assert torch.equal(epoch(Photos(), workers="thread", num_workers=2)[0], want)


def test_the_users_own_random_numbers_go_on_as_if_nothing_had_been():
    def draws():
        return torch.rand(()).item(), np.random.rand()

    torch.manual_seed(0)
    np.random.seed(0)
    want = [draws() for _ in range(4)]
    torch.manual_seed(0)
    np.random.seed(0)
    for workers in (0, 2):
        with fa.loader(Noisy(), 12, augment=CROP, seed=3, num_workers=workers) as loader:
            found = [draws() for _ in loader]
        assert found == want[2 * (workers > 0) :][:2]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_goes_on_where_it_was_left(workers):
    options = dict(augment=TRAIN, seed=3, num_workers=workers)
    with fa.loader(Noisy(), 6, True, **options) as loader:
        want = [images for images, _ in loader]
    with fa.loader(Noisy(), 6, True, **options) as loader:
        batches = iter(loader)
        for _ in range(2):
            next(batches)
        state = loader.state_dict()
    with fa.loader(Noisy(), 3, True, **options) as loader:
        loader.load_state_dict(state)
        found = torch.cat([images for images, _ in loader])
    assert torch.equal(found, torch.cat(want[2:]))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_is_replayed(workers, tmp_path):
    with fa.loader(Noisy(), 6, True, augment=TRAIN, seed=3, num_workers=workers, with_plan=True) as loader:
        batches = list(loader)
        images, targets, plan = batches[2]
        plan.save(tmp_path / "plan.npz")
        again = loader.replay(fa.BatchPlan.load(tmp_path / "plan.npz"))
        assert torch.equal(again[0], images)
        assert torch.equal(again[1], targets)
        plan.rows["flip"] ^= 1
        assert torch.equal(loader.replay(plan)[0].flip(3)[:, :, 9:], loader.replay(plan)[0].flip(3)[:, :, 9:])
        plan.rows["h"][0] = 1 << 20
        with pytest.raises(ValueError, match="inside its image"):
            loader.replay(plan)


def test_visits_of_a_sampler_and_copies():
    with fa.loader(Noisy(), 4, sampler=[3, 3, 5, 3], augment=CROP, seed=3, num_workers=1) as loader:
        ((images, _),) = list(loader)
    assert not torch.equal(images[0], images[1])
    assert len({image.numpy().tobytes() for image in images}) == 4


# ---- what it may give ----


def encoded(pixels):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


GIVEN = {
    "PIL": Image.fromarray,
    "array": lambda p: p,
    "tensor": lambda p: torch.from_numpy(p),
    "tensor first": lambda p: torch.from_numpy(p.transpose(2, 0, 1).copy()),
    "array first": lambda p: p.transpose(2, 0, 1),
    "floats": lambda p: torch.from_numpy(p.transpose(2, 0, 1) / np.float32(255)),
    "doubles": lambda p: p / 255,
    "RGBA": lambda p: np.concatenate([p, p[:, :, :1]], 2),
    "bytes": encoded,
    "bytearray": lambda p: bytearray(encoded(p)),
    "palette": lambda p: Image.fromarray(p).convert("RGBA"),
}


@pytest.mark.parametrize("kind", GIVEN)
@pytest.mark.parametrize("workers", [0, 2])
def test_images_of_any_kind_give_the_same_pixels(kind, workers):
    want, _ = epoch(Photos())
    found, rest = epoch(Photos(give=lambda i, p: (GIVEN[kind](p), i)), num_workers=workers)
    assert torch.equal(found, want)
    assert torch.cat([targets for (targets,) in rest]).tolist() == list(range(24))


@pytest.mark.parametrize("give", [lambda p: p[:, :, 0], lambda p: p[:, :, :1], lambda p: p[None, :, :, 0]])
def test_gray_images(give):
    want, _ = epoch(Photos(give=lambda i, p: (np.repeat(p[:, :, :1], 3, 2), i)))
    data = Photos(give=lambda i, p: (give(p), i))
    assert torch.equal(epoch(data)[0], want)
    one, _ = epoch(data, channels=1, augment=[*CROP, fa.Normalize((0.5,), (0.25,))])
    assert torch.allclose(one, (want[:, :1] - 0.5) / 0.25, atol=1e-6)


def test_gray_data_sets_of_torchvision(tmp_path):
    data = object.__new__(tv.MNIST)
    pixels = torch.randint(0, 256, (10, 28, 28), dtype=torch.uint8)
    vars(data).update(data=pixels, targets=torch.arange(10), transform=None, target_transform=None)
    with fa.loader(data, 10, augment=[], dtype=torch.uint8, channels=1) as loader:
        images, targets = next(iter(loader))
    assert torch.equal(images, pixels[:, None])
    assert targets.tolist() == list(range(10))


def test_wrong_images_are_named():
    for give, error, words in (
        (lambda i, p: "photo", TypeError, "gives a str 'photo', in which nothing is an image"),
        (lambda i, p: (i, i), TypeError, "a tuple of int, int"),
        (lambda i, p: {"a": p, "b": p}, TypeError, "'a' or 'b' could be the image"),
        (lambda i, p: (p.astype(np.int64), i), ValueError, "its image is int64; it must be uint8"),
        (lambda i, p: (p[:, :, :2], i), ValueError, "C 1, 3 or 4"),
        (lambda i, p: (p * 1.5, i), ValueError, r"floats from .* take Normalize"),
    ):
        with pytest.raises(error, match=words):
            fa.loader(Photos(give=give), 4, augment=CROP)

    def odd(i, p):
        return (p, i) if i < 20 else p

    form, fits = (
        r"sample 20 of Photos.*samples must be of one form",
        "39x48 pixels fit the augmentations no more",
    )
    loader = fa.loader(Photos(give=odd), 4, augment=CROP, num_workers=1)
    with loader, pytest.raises(fa.DecodeError, match=form):
        list(loader)
    sizes = Photos(give=lambda i, p: (p[: 40 - i // 20], i))
    loader = fa.loader(sizes, 4, augment=[], num_workers=1)
    with loader, pytest.raises(fa.DecodeError, match=fits):
        list(loader)


Pair = namedtuple("Pair", "image label")
FORMS = {
    "three": lambda i, p: (p, i, f"name{i}"),
    "dict": lambda i, p: {"label": i, "image": p, "weight": i / 2},
    "pixel_values": lambda i, p: {"pixel_values": p, "labels": i},
    "multi-hot": lambda i, p: (p, torch.eye(8)[i % 8] + torch.eye(8)[3]),
    "float": lambda i, p: (p, i / 3),
    "dict target": lambda i, p: (p, {"a": i, "b": torch.tensor([i, 1.0])}),
    "tuple target": lambda i, p: (p, (i, i / 2)),
    "array": lambda i, p: (p, np.arange(3) + i),
    "bfloat16": lambda i, p: (p, torch.full((2,), i, dtype=torch.bfloat16)),
    "target first": lambda i, p: (i, p),
    "ignored": lambda i, p: (p, -100 if i % 2 else i),
    "text": lambda i, p: (p, "cat" if i % 2 else "dog"),
    "alone": lambda i, p: p,
    "list": lambda i, p: [p, i],
}


def leaves(held):
    if isinstance(held, dict):
        return [(key, leaves(value)) for key, value in held.items()]
    if isinstance(held, (tuple, list)):
        return [leaves(value) for value in held]
    return (held.dtype, held.tolist()) if isinstance(held, torch.Tensor) else held


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("workers", [0, 2])
def test_samples_of_any_form_come_as_a_dataloader_gives_them(form, workers):
    data = Photos(give=FORMS[form])
    with fa.loader(data, 6, augment=[], dtype=torch.uint8, num_workers=workers) as loader:
        for ours, theirs in zip(loader, DataLoader(data, 6), strict=True):
            theirs = default(theirs)
            assert leaves(ours) == leaves(theirs)
            assert isinstance(ours, dict) == isinstance(theirs, dict)


def default(batch):
    """A DataLoader's batch with its images' channels first."""
    if isinstance(batch, dict):
        return {key: default(value) for key, value in batch.items()}
    if isinstance(batch, (tuple, list)):
        return [default(value) for value in batch]
    image = isinstance(batch, torch.Tensor) and batch.ndim == 4
    return batch.permute(0, 3, 1, 2) if image else batch


def test_batches_take_the_form_that_is_asked_for():
    data = Photos(give=FORMS["three"])
    for batch, names in (("dict", ["image", "label", "field2"]), (("x", "y", "name"), ["x", "y", "name"])):
        with fa.loader(data, 4, augment=CROP, batch=batch, with_plan=True) as loader:
            found = next(iter(loader))
        assert list(found) == [*names, "plan"]
    with fa.loader(Photos(give=FORMS["dict"]), 4, augment=CROP, batch="tuple") as loader:
        images, labels, weights = next(iter(loader))
        assert (images.shape, labels.tolist(), weights.tolist()) == (
            (4, 3, 16, 16),
            [0, 1, 2, 3],
            [0, 0.5, 1, 1.5],
        )
    with pytest.raises(ValueError, match="3 names, for image, label, field2"):
        fa.loader(data, 4, augment=CROP, batch=("x", "y"))


# ---- wrappers, classes ----


def test_wrappers_at_any_depth():
    data = Photos(classes=["a", "b", "c", "d"])
    first, second = random_split(data, [20, 4], torch.Generator().manual_seed(0))
    nested = Subset(ConcatDataset([first, Subset(second, [3, 1])]), [21, 0, 5])
    with fa.loader(nested, 3, augment=[], dtype=torch.uint8, num_workers=1) as loader:
        images, targets = next(iter(loader))
        assert loader.classes is None or loader.classes == data.classes
    want = [nested[k] for k in range(3)]
    assert targets.tolist() == [label for _, label in want]
    assert torch.equal(images, torch.stack([v2.functional.pil_to_tensor(image) for image, _ in want]))
    with fa.loader(second, 2, augment=[*CROP, fa.MixUp(0.2)]) as loader:
        assert next(iter(loader))[1].shape == (2, 4)


class Batched(Photos):
    """As Hugging Face's: asked for several samples at once."""

    asked = ()

    def __getitems__(self, indices):
        self.asked = [*self.asked, tuple(indices)]
        return [self[i] for i in indices]


def test_getitems_is_called_as_torch_calls_it():
    data = Batched(6)
    want, _ = epoch(Photos(6))
    assert torch.equal(epoch(data, 3)[0], want)
    assert data.asked == [(i,) for i in range(6)]  # keyed: one by one
    data.asked = ()
    assert torch.equal(epoch(data, 3, keyed=False)[0], want)
    assert data.asked == [(0, 1, 2), (3, 4, 5)]


def test_what_cannot_be_called_is_refused():
    for data, words in ((17, "int is known by its __getitem__ alone; accepted are"), ({}, "dict")):
        with pytest.raises(TypeError, match=words):
            fa.loader(data, 2, augment=CROP)
    with pytest.raises(TypeError, match="source='call' needs a data set"):
        fa.loader("folder", 2, augment=CROP, source="call")
    with pytest.raises(TypeError, match="Photos is known by its __getitem__ alone"):
        fa.loader(Photos(), 2, augment=CROP, source="files")
    with pytest.raises(ValueError, match="Photos is empty"):
        fa.loader(Photos(0), 2, augment=CROP)


def test_either_way_gives_the_same_batches(photos):
    transform = v2.Compose([v2.RandomResizedCrop(24), v2.RandomHorizontalFlip(), v2.ToImage()])
    folder = tv.ImageFolder(photos, transform)
    found = []
    for source, workers in itertools.product(("files", "call"), (0, 2)):
        with fa.loader(folder, 8, True, seed=1, source=source, num_workers=workers) as loader:
            assert ("called by" in repr(loader)) == (source == "call")
            found.append([(images, targets.tolist()) for images, targets in loader])
    for other in found[1:]:
        for (a, labels), (b, same) in zip(found[0], other, strict=True):
            assert labels == same
            assert (a.int() - b.int()).abs().max() <= 1  # Pillow's decoder and ours


# ---- collate_fn, single samples ----


def test_a_collate_fn_gets_finished_samples():
    def collate(samples):
        assert isinstance(samples, list)
        return torch.stack([image for image, *_ in samples]), [more for _, *more in samples]

    data = Photos(give=FORMS["three"])
    want, _ = epoch(data)
    with fa.loader(data, 6, augment=CROP, seed=3, collate_fn=collate, num_workers=2) as loader:
        batches = list(loader)
    assert torch.equal(torch.cat([images for images, _ in batches]), want)
    assert batches[1][1] == [[i, f"name{i}"] for i in range(6, 12)]
    for options in (dict(augment=[*CROP, fa.MixUp(0.2)], num_classes=24), dict(label_smoothing=0.1)):
        with pytest.raises(ValueError, match="collate_fn gets targets as the data set gives them"):
            fa.loader(data, 6, collate_fn=collate, **{"augment": CROP, **options})
    with fa.loader(data, 6, augment=CROP, seed=3, collate_fn=torch.utils.data.default_collate) as loader:
        assert torch.equal(next(iter(loader))[0], want[:6])


def test_batch_size_none_gives_samples_one_by_one():
    data = Photos(give=FORMS["three"])
    want, _ = epoch(data)
    with fa.loader(data, None, augment=CROP, seed=3) as loader:
        assert len(loader) == 24
        samples = list(loader)
    assert torch.equal(torch.stack([image for image, *_ in samples]), want)
    assert [more for _, *more in samples] == [[i, f"name{i}"] for i in range(24)]
    with pytest.raises(ValueError, match="one by one"):
        fa.loader(data, None, drop_last=True, augment=CROP)


# ---- wide images ----


def test_images_of_many_channels_keep_them():
    def give(i, p):
        return np.concatenate([p, 255 - p], 2), i

    mean, std = tuple(k / 10 for k in range(6)), (0.5,) * 6
    augment = [fa.RandomHorizontalFlip(1), fa.Cutout(8), fa.Normalize(mean, std)]
    found, _ = epoch(Photos(give=give), channels=6, augment=augment, num_workers=2)
    plain = torch.stack([torch.from_numpy(give(i, photo(i))[0]).permute(2, 0, 1) for i in range(24)])
    want = (plain.flip(3) / 255 - torch.tensor(mean)[:, None, None]) / 0.5
    erased = (found == 0).all(1, keepdim=True)
    assert erased.sum() > 0
    assert torch.allclose(found.masked_fill(erased, 0), want.masked_fill(erased, 0), atol=1e-5)
    with pytest.raises(ValueError, match="Normalize is for 6 channels, and the images have 3"):
        fa.loader(Photos(), augment=augment)
    with pytest.raises(ValueError, match="RandAugment changes the colours of uint8 RGB"):
        fa.loader(Photos(give=give), channels=6, augment=[fa.RandAugment()])


def test_sixteen_bits_stay():
    data = Photos(give=lambda i, p: (p.astype(np.uint16) * 257, i))
    deep, _ = epoch(data)
    flat, _ = epoch(Photos())
    assert (deep - flat).abs().max() < 2 / 255
    assert not torch.equal(deep, flat)
    whole, _ = epoch(Photos(give=lambda i, p: (p.astype(np.uint16) * 256 + i, i)), augment=[])
    assert torch.equal((whole * 65535).round().int()[5] & 255, torch.full((3, 40, 48), 5))


def test_floats_that_nothing_is_done_to_are_as_they_were():
    data = Photos(give=lambda i, p: (torch.from_numpy(p.transpose(2, 0, 1) * np.float32(0.031) - 3), i))
    found, _ = epoch(data, augment=None, num_workers=2)
    assert torch.equal(found, torch.stack([data[i][0] for i in range(24)]))
    mixed, rest = epoch(data, augment=[fa.MixUp(1.0)], num_classes=24)
    assert torch.equal(
        mixed[:6], torch.einsum("kj,jchw->kchw", rest[0][0][:, :6], found[:6])
    ) or torch.allclose(mixed[:6], torch.einsum("kj,jchw->kchw", rest[0][0][:, :6], found[:6]), atol=1e-5)


def test_arrays_of_other_kinds():
    pixels = np.stack([photo(k) for k in range(8)])
    labels = np.arange(8)
    plain = [fa.RandomHorizontalFlip(1)]
    want, _ = epoch((pixels, labels), augment=plain)
    deep, _ = epoch((pixels.astype(np.uint16) * 257, labels), augment=plain)
    assert torch.allclose(deep, want, atol=1e-6)
    six, _ = epoch((np.concatenate([pixels, pixels], 3), labels), augment=plain, channels=6)
    assert torch.allclose(six, torch.cat([want, want], 1), atol=1e-6)
    floats, _ = epoch((pixels / np.float32(255), labels), augment=[])
    assert torch.allclose(floats.flip(3), want, atol=1e-6)
    assert torch.equal(epoch((pixels, labels), augment=plain, source="call")[0], want)
    for gray in (pixels[..., 0], pixels[..., :1]):
        one, _ = epoch((gray, labels), augment=plain, channels=1)
        assert torch.equal(one, want[:, :1])
    with pytest.raises(ValueError, match="8 images and 3 targets"):
        epoch((pixels.astype(np.uint16), labels[:3]))
