"""A called data set's own transform: taken out and carried out by us where that is the same, else left
inside."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset
from torchvision.transforms import v2

import fastaug as fa

from .sets import Photos, photo

SIZE = [v2.Resize((20, 24)), v2.RandomHorizontalFlip(1.0)]
END = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.25] * 3)]
TRAIN = v2.Compose([v2.RandomResizedCrop(16), *END])
EVEN = v2.Compose([*SIZE, *END])


class Wrapped(Dataset):
    """A transform over another data set, as many scripts have it."""

    def __init__(self, dataset, transform):
        self.dataset, self.transform = dataset, transform

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, i):
        image, label = self.dataset[i]
        return self.transform(image), label


class Double(Photos):
    def __getitem__(self, i):
        image = Image.fromarray(photo(i))
        return self.transform(image), self.transform(image)


class Behind(Photos):
    def __getitem__(self, i):
        image, label = super().__getitem__(i)
        return 1 - image, label


class Labelled(Photos):
    def __getitem__(self, i):
        image, label = super().__getitem__(i)
        return image, label + image.mean()


class Together(Photos):
    def __getitem__(self, i):
        return self.transform(Image.fromarray(photo(i)), i)


class Named(Photos):
    def __getitem__(self, i):
        return self.transform(image=photo(i))["image"], i


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.WARNING, "fastaug")
    return caplog


def close(data, **options):
    """The same as a DataLoader's, up to the rounding of scaled pixels."""
    with fa.loader(data, 6, num_workers=2, **options) as loader:
        text = repr(loader)
        for ours, theirs in zip(loader, DataLoader(data, 6), strict=True):
            assert ours[0].shape == theirs[0].shape
            assert ours[0].dtype == theirs[0].dtype
            assert (ours[0] - theirs[0]).abs().max() <= 1.01 / 255 / 0.25
            assert torch.equal(torch.as_tensor(ours[1]), torch.as_tensor(theirs[1]))
    return text


def test_a_transform_that_can_be_said_is_carried_out_by_us(said):
    for data in (
        Photos(transform=EVEN),
        Wrapped(Photos(), EVEN),
        Subset(Photos(transform=EVEN), [3, 1, 2, 9, 11, 5]),
        ConcatDataset([Photos(8, EVEN), Photos(4, EVEN)]),
        Wrapped(Subset(ConcatDataset([Photos(8), Photos(4)]), range(12)), EVEN),
    ):
        text = close(data)
        assert "Resize(size=(20, 24)" in text
        assert "RandomHorizontalFlip" in text
        assert "transform inside" not in text
    assert not said.messages


def test_the_data_set_keeps_its_transform():
    data = Photos(transform=TRAIN)
    for workers, kind in ((0, "process"), (2, "process"), (2, "thread")):
        with fa.loader(data, 6, num_workers=workers, workers=kind, seed=0) as loader:
            next(iter(loader))
        assert data.transform is TRAIN


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (Photos(transform=v2.Compose([*SIZE, v2.Lambda(lambda x: x), *END])), "transform 3 of 6, Lambda"),
        (Photos(transform=lambda image: EVEN(image)), "is not one of torchvision's"),
        (Double(transform=EVEN), "__getitem__ calls it 2 times for a sample"),
        (Behind(transform=EVEN), "without it sample 0 fails (TypeError"),
        (Labelled(transform=EVEN), "without it sample 0 fails"),
        (
            ConcatDataset([Photos(4, EVEN), Photos(4, v2.Compose([v2.Resize((20, 24)), *END]))]),
            "there are several",
        ),
    ],
)
def test_a_transform_that_cannot_stays_inside_with_one_warning(data, words, said):
    text = close(data)
    assert "transform inside" in text
    (message,) = said.messages
    assert words in message
    assert "stays in its __getitem__" in message


class Inverted(Photos):
    """Changes tensors as it would PIL images."""

    def __getitem__(self, i):
        image, label = super().__getitem__(i)
        return v2.functional.invert(image), label


class Told(Photos):
    """Says how large its image is."""

    def __getitem__(self, i):
        image, label = super().__getitem__(i)
        return image, label + sum(v2.functional.get_size(image))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (Inverted(transform=EVEN), "changes the image behind it"),
        (Told(transform=EVEN), "other parts of the sample"),
    ],
)
def test_what_depends_on_the_transform_is_noticed(data, words, said):
    close(data)
    assert words in said.messages[0]


def test_transforms_of_more_than_an_image(said):
    both = Together(transform=lambda image, label: (v2.functional.to_image(image), label))
    with fa.loader(both, 4, augment=None) as loader:
        images, labels = next(iter(loader))
        assert (images.shape, labels.tolist()) == ((4, 3, 40, 48), [0, 1, 2, 3])
    named = Named(transform=lambda image: {"image": image[::2]})
    with fa.loader(named, 4, augment=[fa.RandomResizedCrop(16)]) as loader:
        assert next(iter(loader))[0].shape == (4, 3, 16, 16)
    assert len(said.messages) == 2


def test_a_list_replaces_the_transform():
    with fa.loader(Photos(transform=EVEN), 4, augment=[fa.Resize((8, 8))]) as loader:
        assert next(iter(loader))[0].shape == (4, 3, 8, 8)


def test_transforms_that_take_arrays():
    class Arrays(Photos):
        def __getitem__(self, i):
            return self.transform(photo(i)), i

    text = close(Arrays(transform=v2.Compose([v2.ToImage(), *SIZE, *END[1:]])))
    assert "Resize" in text
    assert np.array_equal(photo(3), photo(3))


def test_untranslatable_transforms_of_folders_are_called(photos, said):
    from torchvision.datasets import ImageFolder

    transform = v2.Compose([v2.Resize((20, 24)), v2.Lambda(lambda image: image), *END])
    assert "called because" in close(Subset(ImageFolder(photos, transform), range(0, 40, 4)))
    assert "transform 2 of 5, Lambda" in said.messages[0]
    with pytest.raises(ValueError, match="transform 2 of 5, Lambda"):
        fa.loader(ImageFolder(photos, transform), source="files")
