"""Data sets with code of their own, transforms assigned late, changes after a loader was made: what torch's
``DataLoader`` would do is done, or refused by name."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, Dataset, IterableDataset, Subset
from torchvision import datasets as tv
from torchvision.datasets.folder import accimage_loader, default_loader, pil_loader
from torchvision.datasets.vision import StandardTransform
from torchvision.transforms import v2

import fastaug as fa
from fastaug.data.datasets import as_listing, own_transforms

from .data.test_datasets import hugging, made, torchvision_sets  # noqa: F401

CROP = [fa.RandomResizedCrop(32)]
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8)
HOOKS = ("__getitem__", "__getitems__", "__len__")


class Held:
    """A plain holder of arrays."""

    def __init__(self, **held):
        self.__dict__.update({"data": PIXELS, "targets": [0, 1, 2, 0, 1, 2], **held})


@dataclass
class Slots:
    __slots__ = ("data", "targets")
    data: np.ndarray
    targets: list


class Pair(NamedTuple):
    data: np.ndarray
    targets: list


def every_set(photos, root):
    """A data set of every kind that holds its samples."""
    folder = tv.ImageFolder(photos)
    yield from torchvision_sets(photos, root)
    yield Subset(folder, [3, 1])
    yield ConcatDataset([folder, folder])
    yield Held()
    yield Held(samples=folder.samples, classes=folder.classes)


def of_class(kind, data):
    """The data set as one of a subclass."""
    mine = object.__new__(kind)
    mine.__dict__.update(vars(data))
    return mine


def refused(data, words, error=TypeError):
    with pytest.raises(error, match=words):
        as_listing(data)


# ---- samples ----


def test_a_class_that_makes_its_samples_itself_is_refused_by_name(photos, tmp_path):
    for data in every_set(photos, tmp_path):
        for hook in HOOKS:
            own = {hook: lambda self, *_: 1}
            mine = of_class(type("Mine", (type(data),), own), data)
            refused(mine, f"Mine has a {hook} of its own")
            mixin = type("Mixin", (), own)
            refused(of_class(type("Mine", (mixin, type(data)), {}), data), f"Mixin has a {hook} of its own")
        plain = of_class(type("Mine", (type(data),), {"other": lambda self: 1}), data)
        assert (as_listing(plain).labels == as_listing(data).labels).all()
        plain.__getitems__ = lambda indices: indices  # the one that torch finds on the object too
        refused(plain, "Mine has a __getitems__ of its own")
        refused(Subset(of_class(type("Mine", (type(data),), {"__len__": lambda self: 1}), data), [0]), "Mine")


def test_the_loader_refuses_before_work_starts():
    class Pairs(Dataset):
        data, targets = PIXELS, [0] * 6

        def __getitem__(self, i):
            return 255 - self.data[i], self.targets[i]

    class Stream(IterableDataset):
        data, targets = PIXELS, [0] * 6

        def __iter__(self):
            return iter(())

    with pytest.raises(TypeError, match="Pairs has no length"):
        fa.loader(Pairs(), 2, augment=[])
    with pytest.raises(ValueError, match="shuffle=True is not possible with an IterableDataset"):
        fa.loader(Stream(), 2, shuffle=True, augment=[])


def test_plain_holders_stay_accepted():
    labels = [0, 1, 2, 0, 1, 2]
    base = type("Base", (Dataset,), {"data": PIXELS, "targets": labels})  # torch's own __getitem__ raises
    for data in (
        SimpleNamespace(data=PIXELS, targets=labels),
        Slots(PIXELS, labels),
        Pair(PIXELS, labels),
        Held(),
        base(),
    ):
        with fa.loader(data, 6, augment=[], dtype=torch.uint8) as loader:
            for _ in range(2):
                images, targets = next(iter(loader))
                assert (images.permute(0, 2, 3, 1).numpy() == PIXELS).all()
                assert targets.tolist() == labels


def test_replaced_methods_of_torchvisions_classes(photos, monkeypatch):
    monkeypatch.setattr(tv.ImageFolder, "__getitem__", lambda self, i: 0)
    refused(tv.ImageFolder(photos), "ImageFolder has a __getitem__ of its own")


def test_wrapped_data_sets(photos):
    """torchvision's wrapper for v2 changes nothing in them, and calls ``transforms``."""
    first, second = v2.Compose([v2.Resize((16, 16)), v2.ToImage()]), v2.Resize((9, 9))
    data = tv.wrap_dataset_for_transforms_v2(tv.ImageFolder(photos, first, lambda c: 7 - c))
    data.transform = second
    assert own_transforms(data)[0][1] is first
    with fa.loader(data, 2) as loader:
        images, targets = next(iter(loader))
        assert (images.shape[2:], targets.tolist()) == (data[0][0].shape[1:], [data[0][1], data[1][1]])
        data._dataset.samples.pop()
        with pytest.raises(RuntimeError, match=r"WrappedImageFolder\.samples has changed"):
            iter(loader)
    mine = type("Mine", (tv.ImageFolder,), {"__getitem__": lambda self, i: 0})
    refused(tv.wrap_dataset_for_transforms_v2(mine(photos)), "Mine has a __getitem__ of its own")
    own = tv.ImageFolder(photos, loader=lambda path: None)
    refused(tv.wrap_dataset_for_transforms_v2(own), "ImageFolder.loader is")


def test_lists_are_asked_as_torch_asks_them(photos):
    samples = tv.ImageFolder(photos).samples

    class Backwards(list):
        def __getitem__(self, i):
            return super().__getitem__(len(self) - 1 - i)

    class Short(Sequence):  # fewer than its __getitem__ would give
        def __len__(self):
            return 3

        def __getitem__(self, i):
            return samples[i]

    class Batched(list):
        def __getitems__(self, indices):
            return [self[0]] * len(indices)

    assert list(as_listing(Backwards(samples)).paths) == [p for p, _ in samples[::-1]]
    assert list(as_listing(Short()).paths) == [p for p, _ in samples[:3]]
    refused(Batched(samples), "Batched has a __getitems__ of its own")


def test_loaders_of_ones_own_are_refused_by_name(photos, tmp_path):
    def mine(path):
        return default_loader(path).rotate(90)

    @functools.wraps(default_loader)
    def named_alike(path):
        return mine(path)

    for loader in (mine, named_alike, functools.partial(pil_loader), lambda path: None):
        for data in (tv.ImageFolder(photos, loader=loader), tv.DatasetFolder(photos, loader, (".jpg",))):
            refused(data, f"{type(data).__name__}.loader is ")
            refused(ConcatDataset([Subset(data, [0]), data]), r"Folder\.loader")
        for data in torchvision_sets(photos, tmp_path):
            name = "_loader" if isinstance(data, tv.LFWPeople) else "loader"
            setattr(data, name, loader)
            refused(data, rf"{type(data).__name__}\.{name} is")
        held = Held(samples=tv.ImageFolder(photos).samples, classes=["a"] * 8, loader=loader)
        refused(held, r"Held\.loader is")
    for loader in (default_loader, pil_loader, accimage_loader):
        assert len(as_listing(tv.ImageFolder(photos, loader=loader))) == len(tv.ImageFolder(photos))
    method = type("Mine", (tv.ImageFolder,), {"loader": property(lambda s: mine, lambda s, v: None)})
    refused(method(photos), r"Mine\.loader is")


def test_indices_and_lengths_that_are_not_what_they_seem(photos):
    folder = tv.ImageFolder(photos)
    refused(Subset(folder, [0.5, 1.5]), r"float64 \[2\]; they must be whole numbers")
    refused(Subset(folder, torch.zeros(2, 2, dtype=torch.int64)), r"int64 \[2, 2\]")
    both = ConcatDataset([folder, tv.ImageFolder(photos)])
    del folder.samples[5:]
    refused(both, "counts 80 samples, and its parts now hold 45; make a new one", ValueError)


def test_class_names_follow_the_data_sets_own_numbers(photos):
    class Backwards(tv.ImageFolder):
        def find_classes(self, directory):
            classes, numbers = super().find_classes(directory)
            return classes, {name: len(classes) - 1 - k for name, k in numbers.items()}

    data = Backwards(photos)
    source = as_listing(data)
    assert source.labels.tolist() == [label for _, label in data.samples]
    assert source.classes is None
    pets = made(
        tv.OxfordIIITPet,
        _target_types=["binary-category"],
        _images=["a.jpg"],
        _labels=[30],
        _bin_labels=[1],
        classes=["x"] * 37,
        bin_classes=["Cat", "Dog"],
    )
    assert as_listing(pets).classes == ["Cat", "Dog"]


# ---- transforms ----


def test_transforms_assigned_late_mean_what_they_mean_to_torch(photos, tmp_path):
    """Whatever stands in transform, target_transform and transforms: what each __getitem__ calls is read, and
    what it leaves out although nothing else is called is refused."""
    called = []

    def marked(name):
        return lambda value: called.append(name) or value

    early, late, early_target, late_target = map(marked, ("early", "late", "early target", "late target"))
    standard = (
        None,
        StandardTransform(early),
        StandardTransform(early, early_target),
        StandardTransform(None, early_target),
    )
    reads = {
        "transform": lambda data: own_transforms(data)[0][1] or (lambda image: None),
        "target_transform": lambda data: as_listing(data) and (lambda label: None),
    }
    refusals = 0
    for data in torchvision_sets(photos, tmp_path):
        for both, alone, target in itertools.product(standard, (None, late), (None, late_target)):
            data.transforms, data.transform, data.target_transform = both, alone, target
            called.clear()
            assert data[0]
            done = set(called)
            for what, read in reads.items():
                mine = {name for name in done if ("target" in name) == (what == "target_transform")}
                called.clear()
                if not mine and getattr(data, what) is not None:  # torch leaves it out
                    with pytest.raises(ValueError, match=f"{type(data).__name__} calls transforms, and <"):
                        read(data)
                    refusals += 1
                    continue
                read(data)(0)
                assert set(called) == mine
    assert refusals


def test_transforms_of_others_that_differ(photos):
    one, two = v2.Resize((8, 8)), v2.Resize((9, 9))
    for held, found in [
        (dict(transform=one), one),
        (dict(transforms=one), one),
        (dict(transforms=StandardTransform(one)), one),
        (dict(transform=one, transforms=StandardTransform(one)), one),
    ]:
        assert own_transforms(Held(**held)) == [("Held", found)]
    with pytest.raises(ValueError, match=r"Held.transform is Resize.*, and its transforms say Resize.*keep"):
        fa.loader(Held(transform=one, transforms=StandardTransform(two)))
    add, double = (lambda c: c + 1), (lambda c: c * 2)
    refused(
        Held(target_transform=add, transforms=StandardTransform(None, double)),
        "Held.target_transform is .*keep the one",
        ValueError,
    )
    assert as_listing(Held(transforms=StandardTransform(None, double))).labels.tolist() == [0, 2, 4, 0, 2, 4]


def test_transforms_of_image_and_target_together_keep_labels(photos):
    pets = dict(
        _images=[Path(p) for p, _ in tv.ImageFolder(photos).samples[:4]],
        _labels=[0, 1, 2, 3],
        _target_types=["category"],
    )

    def swap(image, label):
        return image, 3 - label

    size = [v2.Resize((24, 32)), v2.ToImage(), v2.ToDtype(torch.float16, scale=True)]
    with fa.loader(made(tv.OxfordIIITPet, transforms=v2.Compose(size), **pets), 4) as loader:
        images, targets = next(iter(loader))
    assert (images.shape, images.dtype, targets.tolist()) == ((4, 3, 24, 32), torch.float16, [0, 1, 2, 3])
    inside = v2.RandomApply([v2.Lambda(swap)])
    for together in (swap, v2.Compose([*size, swap]), inside, v2.Lambda(swap, int)):
        with pytest.raises(TypeError, match=r"OxfordIIITPet.transforms is .*may change labels"):
            fa.loader(made(tv.OxfordIIITPet, transforms=together, **pets), augment=CROP, source="files")
    folder = tv.ImageFolder(photos)
    folder.transforms = v2.Compose(size)  # where its __getitem__ does not look
    with pytest.raises(ValueError, match="ImageFolder calls transform and target_transform, and Compose"):
        fa.loader(folder)
    fa.loader(folder, augment=CROP).close()


def test_parts_keep_their_own_target_transforms(photos):
    parts = [tv.ImageFolder(photos, target_transform=t) for t in (lambda c: c + 1, lambda c: 7 - c)]
    data = ConcatDataset([Subset(parts[0], [0, 39]), parts[1]])
    labels = as_listing(data).labels.tolist()
    assert labels == [data[i][1] for i in range(len(data))]


# ---- changes after the loader was made ----


def pipeline():
    return v2.Compose([v2.Resize((16, 16)), v2.ToImage()])


def late(kind):
    """A data set for which ``kind`` makes a whole of a folder; the folder."""

    def make(photos):
        folder = tv.ImageFolder(photos, pipeline(), lambda c: c + 1)
        return kind(folder), folder

    return make


WHOLES = {
    "folder": late(lambda f: f),
    "subset": late(lambda f: Subset(f, [5, 1, 0])),
    "nested": late(lambda f: ConcatDataset([Subset(Subset(f, [0, 1, 2]), [1]), f])),
}
PART = r"(ImageFolder|.*\.dataset|.*\.datasets\[\d\])"
CHANGES = {
    "transform": lambda f: setattr(f, "transform", v2.Resize((8, 8))),
    "transform taken out": lambda f: setattr(f, "transform", None),
    "transform edited": lambda f: f.transform.transforms.append(v2.RandomHorizontalFlip()),
    "size edited": lambda f: setattr(f.transform.transforms[0], "size", [8, 8]),
    "target_transform": lambda f: setattr(f, "target_transform", lambda c: c),
    "samples": lambda f: setattr(f, "samples", f.samples[:20]),
    "samples cut": lambda f: f.samples.pop(),
    "samples relabelled": lambda f: f.samples.__setitem__(3, (f.samples[3][0], 7)),
    "samples elsewhere": lambda f: f.samples.__setitem__(3, ("other.jpg", f.samples[3][1])),
    "loader": lambda f: setattr(f, "loader", lambda path: None),
}


@pytest.mark.parametrize("whole", WHOLES)
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_the_data_set_is_named_at_the_next_epoch(photos, whole, change):
    data, folder = WHOLES[whole](photos)
    own = change.split()[0] in ("transform", "size")
    attribute = "transform" if own else change.split()[0]
    with fa.loader(data, 2) as read, fa.loader(data, 2, augment=CROP) as given:
        for loader in (read, given):
            assert len(next(iter(loader))[0]) == 2
        CHANGES[change](folder)
        with pytest.raises(RuntimeError, match=rf"^{PART}\.{attribute} has changed.*make a new loader"):
            iter(read)
        if own:  # a list took its place
            assert len(next(iter(given))[0]) == 2
        else:
            with pytest.raises(RuntimeError, match=rf"^{PART}\.{attribute} has changed"):
                iter(given)


def test_changes_of_other_data_sets(photos, hugging):  # noqa: F811
    folder = tv.ImageFolder(photos)
    cifar = made(tv.CIFAR10, data=PIXELS, targets=[0, 1, 2, 0, 1, 2], classes=["a", "b", "c"])
    pets = made(
        tv.OxfordIIITPet,
        _images=[p for p, _ in folder.samples[:4]],
        _labels=[0, 1, 2, 3],
        _target_types=["category"],
        transforms=pipeline(),
    )
    labels = np.array([0, 1, 2, 0, 1, 2])
    cut, part = list(folder.samples), Subset(folder, [0, 1, 2])
    blobs = [(Path(path).read_bytes(), label) for path, label in folder.samples[:3]]
    rows = hugging.select(range(3))
    for data, options, change, words in [
        (cifar, {}, lambda: cifar.targets.__setitem__(0, 2), "CIFAR10.targets"),
        (Held(targets=labels), {}, lambda: labels.__setitem__(0, 1), "Held.targets"),
        ((PIXELS, labels), {}, lambda: labels.__setitem__(0, 2), "tuple"),
        (pets, dict(augment=None), lambda: setattr(pets, "transforms", None), r"OxfordIIITPet\.transforms"),
        (pets, {}, lambda: pets._labels.reverse(), r"OxfordIIITPet\._labels"),
        (cut, {}, lambda: cut.pop(), "list"),
        (blobs, {}, lambda: blobs.__setitem__(0, (blobs[0][0], 5)), "list"),
        (part, {}, lambda: setattr(part, "indices", [2, 1, 0]), "Subset.indices"),
        (part, {}, lambda: part.indices.append(4), "Subset.indices"),
        (rows, {}, lambda: rows.set_transform(lambda batch: batch), "Dataset.format"),
    ]:
        options = {"augment": [] if isinstance(data, (Held, tuple)) or data is cifar else CROP, **options}
        with fa.loader(data, 2, **options) as loader:
            for _ in range(2):
                assert len(next(iter(loader))[0]) == 2
            change()
            with pytest.raises(RuntimeError, match=f"^{words} has changed since the loader was made"):
                iter(loader)


def test_what_did_not_change_is_not_named(photos):
    """A list that holds the same, attributes that samples do not come from, and pixels edited in place."""
    folder = tv.ImageFolder(photos)
    pixels = PIXELS.copy()
    held = Held(data=pixels, log=[])
    raw = dict(augment=[], dtype=torch.uint8)
    with fa.loader(folder, 2, augment=CROP) as loader, fa.loader(held, 6, **raw) as other:
        folder.samples = [tuple(pair) for pair in folder.samples]
        folder.notes = [1]
        held.log.append(1)
        pixels[:] = 7
        assert len(next(iter(loader))[0]) == 2
        assert (next(iter(other))[0] == 7).all()


# ---- Hugging Face ----


def test_hugging_face_says_more_than_its_columns(hugging):  # noqa: F811
    hf = pytest.importorskip("datasets")

    for hook in (*HOOKS, "_getitem"):
        mine = of_class(type("Mine", (hf.Dataset,), {hook: lambda self, *_: 1}), hugging)
        refused(mine, f"Mine has a {hook} of its own")
    plain = of_class(type("Mine", (hf.Dataset,), {}), hugging)
    assert (as_listing(plain).labels == as_listing(hugging).labels).all()

    fine = [k % 5 for k in range(len(hugging))]
    two = hugging.add_column("fine", fine).cast_column("fine", hf.ClassLabel(num_classes=5))
    refused(two, "'label' or 'fine'")
    assert as_listing(two.with_format("torch", columns=["image", "fine"])).labels.tolist() == fine
    shown = two.with_format("numpy", columns=["image"])
    refused(shown, r"column for the label, and its columns are 'image' \(Image\)")
    every = two.with_format("numpy", columns=["image"], output_all_columns=True)
    refused(every, "'label' or 'fine'")
    refused(
        hugging.cast_column("image", hf.Image(mode="L")),
        r"'image' is an Image\(mode='L'\).*Grayscale",
        ValueError,
    )
    assert len(as_listing(hugging.cast_column("image", hf.Image(mode="RGB")))) == len(hugging)


def test_a_module_of_ones_own_called_datasets(photos):
    """Its classes are not taken for Hugging Face's."""
    kind = type("Mine", (tv.ImageFolder,), {"__module__": "datasets.mine"})
    assert len(as_listing(kind(photos))) == len(tv.ImageFolder(photos))
