"""fastaug's loader beside torch's DataLoader over the same data sets with the same torchvision transforms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, default_collate
from torchvision import transforms as v1
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

import fastaug as fa

MEAN, STD = fa.IMAGENET_MEAN, fa.IMAGENET_STD
FLOAT = v2.ToDtype(torch.float32, scale=True)
EPOCHS = 24


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """torchvision's small operations are many times faster without torch's threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def small(photos, tmp_path_factory):
    """The photographs at a third of their size."""
    root = tmp_path_factory.mktemp("small")
    for path, label in ImageFolder(photos).samples:
        folder = root / str(label)
        folder.mkdir(exist_ok=True)
        image = Image.open(path)
        image.resize((image.width // 3, image.height // 3)).save(folder / path[-6:], quality=95)
    return str(root)


def joined(loader):
    """All images and targets of an epoch."""
    return map(torch.cat, zip(*loader, strict=True))


# ---- evaluation: pixel by pixel ----


@pytest.mark.parametrize("T", [v1, v2], ids=["v1", "v2"])
@pytest.mark.parametrize("size", [40, (50, 70), 300])
@pytest.mark.parametrize("normalize", [False, True])
def test_evaluation_gives_the_same_pixels(photos, T, size, normalize):
    """Within one level of 255, as fastaug's bilinear is of Pillow's. Pillow's and DALI's libjpeg-turbo decode
    these photographs to the same bytes, so nothing is allowed for the decoders."""
    steps = [T.Resize(size), T.CenterCrop(32 if size == 40 else 48), T.ToTensor()]
    folder = ImageFolder(photos, T.Compose([*steps, *([T.Normalize(MEAN, STD)] if normalize else [])]))
    folder.samples = folder.samples[::3]
    with fa.loader(folder, batch_size=16, num_workers=2, device="cpu") as loader:
        images, targets = joined(loader)
    want, want_targets = joined(DataLoader(folder, 16))
    assert torch.equal(targets, want_targets)
    off = (images - want).abs() * (torch.tensor(STD)[:, None, None] if normalize else 1)
    assert off.max() <= 1 / 255 + 1e-6


# ---- training: means and deviations over epochs ----


def figures(loader, epochs=EPOCHS):
    """Of each epoch: the pixels' mean (whole, left half, upper half), deviation inside an image and mean
    square for each channel, ``[epochs, 5, 3]``; and the targets' mean and mean square, ``[epochs, 2]``."""
    pixels, labels = [], []
    for _ in range(epochs):
        images, targets = joined(loader)
        x, t = images.double(), targets.double()
        halves = x[..., : x.shape[3] // 2], x[:, :, : x.shape[2] // 2]
        means = [part.mean((0, 2, 3)) for part in (x, *halves)]
        pixels.append(torch.stack([*means, x.std((2, 3)).mean(0), x.square().mean((0, 2, 3))]))
        labels.append(torch.stack([t.mean(), t.square().mean()]))
    return torch.stack(pixels).numpy(), torch.stack(labels).numpy()


def agree(ours, theirs, slack):
    """Whether the means over epochs, ``[epochs, ...]``, differ by at most five standard errors and a slack.

    Each epoch holds every image once, so the variance of a figure over epochs is that of one image under its
    augmentation over the number of images, and the mean of K epochs has a K-th of it.
    """
    error = np.sqrt(sum(x.var(0, ddof=1) / len(x) for x in (ours, theirs)))
    return bool((np.abs(ours.mean(0) - theirs.mean(0)) <= 5 * error + slack + 1e-9).all())


def check_pixels(ours, theirs, level, alone=0.0):
    """Means and deviations agree.

    Args:
        ours: pixels of ``figures``.
        theirs: likewise.
        level: the size of one of 255 levels, by which scaling may differ.
        alone: the share of images that may be unmixed here and mixed there: MixUp may take away up to half
            of the variance over all images, a quarter of their deviation, and all of that inside one.
    """
    both = (ours.mean(0) + theirs.mean(0)) / 2
    assert agree(ours[:, :3], theirs[:, :3], level)
    assert agree(ours[:, 3], theirs[:, 3], level + alone * both[3])
    # The deviation sqrt(q - m^2) to first order in the changes of m and q.
    mean, deviation = both[0], np.sqrt(both[4] - both[0] ** 2)
    first, second = ((x[:, 4] - 2 * mean * x[:, 0]) / (2 * deviation) for x in (ours, theirs))
    assert agree(first, second, level + alone / 4 * deviation)


V1_END = [v1.ToTensor(), v1.Normalize(MEAN, STD)]
V2_END = [v2.ToImage(), FLOAT, v2.Normalize(MEAN, STD)]
CROP1, CROP2 = v1.RandomResizedCrop(64), v2.RandomResizedCrop(64)
SWAPS = {
    "v1 crop, flip": [CROP1, v1.RandomHorizontalFlip(), *V1_END],
    "v2 crop, flip": [
        v2.ToImage(),
        v2.RandomResizedCrop(64, (0.3, 1)),
        v2.RandomHorizontalFlip(1),
        FLOAT,
        v2.Normalize([0.5] * 3, [0.5] * 3),
    ],
    "resize, flip, crop": [v1.Resize(72), v1.RandomHorizontalFlip(0.3), v1.CenterCrop(64), v1.ToTensor()],
    "v1 RandAugment": [CROP1, v1.RandAugment(2, 12), *V1_END],
    "v2 TrivialAugmentWide": [v2.ToImage(), CROP2, v2.TrivialAugmentWide(fill=200), FLOAT],
    "v1 AutoAugment": [CROP1, v1.AutoAugment(), v1.ToTensor()],
    "v2 AugMix": [v2.ToImage(), CROP2, v2.AugMix(5, 2, 1), FLOAT],
    "MoCo": [
        v1.RandomResizedCrop(64, (0.2, 1)),
        v1.RandomApply([v1.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8),
        v1.RandomGrayscale(0.2),
        v1.RandomApply([v1.GaussianBlur(9)], 0.5),
        v1.RandomHorizontalFlip(),
        *V1_END,
    ],
    "colour on floats": [CROP2, v2.ToImage(), FLOAT, v2.ColorJitter(0.5, 0.5), v2.RandomSolarize(0.6)],
    "erasing before Normalize": [
        CROP1,
        v1.ToTensor(),
        v1.RandomErasing(0.9, (0.2, 0.4), value=(1, 0.5, 0)),
        v1.Normalize(MEAN, STD),
    ],
    "noise after Normalize": [CROP2, *V2_END, v2.RandomErasing(0.9, (0.2, 0.4), value="random")],
    "uint8": [
        v2.ToImage(),
        CROP2,
        v2.RandomPosterize(2),
        v2.RandomInvert(0.3),
        v2.RandomEqualize(0.3),
        v2.RandomAutocontrast(0.3),
        v2.RandomErasing(value=[255, 0, 9]),
    ],
    "bfloat16": [
        v2.ToImage(),
        v2.Resize((64, 48)),
        v2.RandomHorizontalFlip(),
        v2.ToDtype(torch.bfloat16, scale=True),
    ],
}


@pytest.mark.parametrize("name", SWAPS)
def test_the_swap_agrees_with_torchs_loader(small, name):
    steps = SWAPS[name]
    folder = ImageFolder(small, v2.Compose(steps))
    torch.manual_seed(0)
    theirs = figures(DataLoader(folder, batch_size=16, shuffle=True))
    with fa.loader(folder, batch_size=16, shuffle=True, num_workers=2, device="cpu") as loader:
        images = next(iter(loader))[0]
        ours = figures(loader)
    assert images.dtype == next(iter(DataLoader(folder, 1)))[0].dtype
    std = min((min(s.std) for s in steps if isinstance(s, (v1.Normalize, v2.Normalize))), default=1)
    check_pixels(ours[0], theirs[0], (255 if images.dtype == torch.uint8 else 1) / 255 / std)
    assert agree(ours[1], theirs[1], 0)


@pytest.mark.parametrize("mixing", ["mixup", "cutmix", "either"])
def test_mixing_agrees_with_torchs_collate_fn(small, mixing):
    """torchvision rolls a batch, so no sample is its own partner; in fastaug's permutation of B one in B is,
    on average, and stays unmixed. There a target's mean square over C classes is larger by at most
    2 E[lam (1 - lam)] / C <= 1 / (2 C)."""
    transform = v2.Compose([CROP2, *V2_END])
    folder = ImageFolder(small, transform)
    classes, batch = len(folder.classes), 20
    mixup, cutmix = v2.MixUp(alpha=0.5, num_classes=classes), v2.CutMix(num_classes=classes)
    mix = {"mixup": mixup, "cutmix": cutmix, "either": v2.RandomChoice([mixup, cutmix], [0.3, 0.7])}[mixing]
    torch.manual_seed(0)
    theirs = figures(
        DataLoader(
            folder,
            batch,
            shuffle=True,
            drop_last=True,
            collate_fn=lambda samples: mix(*default_collate(samples)),
        )
    )
    options = dict(shuffle=True, drop_last=True, device="cpu")
    with fa.loader(folder, batch, augment=[transform, mix], **options) as loader:
        assert next(iter(loader))[1].sum(1).allclose(torch.ones(batch))
        ours = figures(loader)
    check_pixels(ours[0], theirs[0], 1 / 255 / min(STD), alone=1 / batch)
    assert agree(ours[1], theirs[1], np.array([1e-6, 0.5 / batch / classes]))


ERASE = v1.RandomErasing(0.9, (0.2, 0.4), value=(1.0, 0.5, 0.0))


@pytest.mark.parametrize(
    ("steps", "place", "other"),
    [
        ([CROP1, *V1_END], 0, v1.RandomResizedCrop(64, (0.08, 0.2))),
        ([v1.Resize((64, 64)), v1.RandomHorizontalFlip(1), *V1_END], 1, v1.RandomHorizontalFlip(0)),
        ([CROP1, v1.RandAugment(2, 12), *V1_END], 1, v1.RandAugment(2, 29)),
        (
            [CROP1, v1.ToTensor(), ERASE, V1_END[1]],
            2,
            v1.RandomErasing(0.7, (0.2, 0.4), value=(1.0, 0.5, 0.0)),
        ),
        ([CROP1, v1.ToTensor(), ERASE, V1_END[1]], 2, v1.RandomErasing(0.9, (0.2, 0.4))),
    ],
    ids=["crop", "flip", "magnitude", "probability", "fill"],
)
def test_the_bounds_notice_what_differs(small, steps, place, other):
    """One argument changed, and the figures above no longer agree."""
    torch.manual_seed(0)
    theirs = figures(DataLoader(ImageFolder(small, v1.Compose(steps)), 16))[0]
    changed = [*steps[:place], other, *steps[place + 1 :]]
    with fa.loader(ImageFolder(small, v1.Compose(changed)), 16, device="cpu") as loader:
        ours = figures(loader)[0]
    with pytest.raises(AssertionError):
        check_pixels(ours, theirs, 1 / 255 / min(STD))
