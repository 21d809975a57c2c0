"""docs/transforms.md, made by running every transform of torchvision's beside fastaug.

``python -m tests.test_transforms`` writes it anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, v2

import fastaug as fa
from fastaug.ops.sheet import PADDING_MODES

from .ops.test_geometry import photo, psnr, supersampled

PAGE = Path(fa.__file__).parent.parent / "docs" / "transforms.md"
BILINEAR, NEAREST = InterpolationMode.BILINEAR, InterpolationMode.NEAREST
TO = [v2.ToImage()]
FLOAT = v2.ToDtype(torch.float32, scale=True)
SQUARE = v2.CenterCrop(64)


@dataclass
class Case:
    """A pipeline that leaves nothing to chance, or whose outcomes can all be listed.

    Attributes:
        group: the table that it stands in.
        transforms: torchvision's.
        outcomes: all that it may become, of the image as torchvision takes it; None: what it makes.
        levels: by how many levels a pixel may differ.
        share: of pixels that may differ by more: ties, and what float32 rounds to the other side.
        tensor: whether torchvision gets a uint8 tensor, whose turns differ from Pillow's.
    """

    group: str
    transforms: list[Any]
    outcomes: Callable[[torch.Tensor], list[torch.Tensor]] | None = None
    levels: int = 0
    share: float = 0.0
    tensor: bool = False

    @property
    def name(self) -> str:
        return ", ".join(f"`{said(t)}`" for t in self.transforms)


def said(transform: Any) -> str:
    """A transform as it is written, on one line."""
    return " ".join(repr(transform).split()).replace("InterpolationMode.", "")


def crops(image: torch.Tensor) -> list[torch.Tensor]:
    padded = v2.functional.pad(image, [2, 2, 2, 2], padding_mode="reflect")
    return [padded[:, y : y + 68, x : x + 95] for y in range(8) for x in range(7)]


def shifted(image: torch.Tensor) -> list[torch.Tensor]:
    padded = v2.functional.pad(image, [23, 29, 23, 29], 5)
    return [padded[:, y : y + 100, x : x + 120] for y in range(30) for x in range(24)]


def orders(image: torch.Tensor) -> list[torch.Tensor]:
    return [image[list(order)] for order in permutations(range(3))]


WHOLE = (97 / 71, 97 / 71)
CASES = [
    *(
        Case("Sizes", [v2.Resize((33, 41), InterpolationMode(name))], levels=levels)
        for name, levels in (
            *(("nearest", 0), ("nearest-exact", 0), ("bilinear", 1), ("bicubic", 2)),
            *(("lanczos", 2), ("box", 1), ("hamming", 1)),
        )
    ),
    Case("Sizes", [v2.Resize(31), v2.CenterCrop(24)], levels=1),
    Case("Sizes", [v2.Resize(31, max_size=40), v2.CenterCrop(24)], levels=1),
    Case("Sizes", [v2.RandomShortestSize([31]), v2.CenterCrop(24)], levels=1),
    Case("Sizes", [v2.RandomResizedCrop((33, 41), (1, 1), WHOLE)], levels=1),
    Case("Sizes", [v2.CenterCrop((50, 60))]),
    Case("Sizes", [v2.CenterCrop((100, 60))]),
    Case("Sizes", [v2.FiveCrop((50, 60))]),
    Case("Sizes", [v2.TenCrop((50, 60))]),
    Case("Sizes", [v2.Resize(50), v2.TenCrop((40, 44), vertical_flip=True)], levels=1),
    *(Case("Padding", [v2.Pad([3, 5, 7, 1], 9, mode)]) for mode in PADDING_MODES),
    Case("Padding", [v2.RandomCrop((68, 95), 2, padding_mode="reflect")], crops),
    Case("Padding", [v2.RandomCrop((100, 120), None, True, 5)], shifted),
    Case("Mirrors and turns behind the last crop", [v2.RandomHorizontalFlip(1.0)]),
    Case("Mirrors and turns behind the last crop", [v2.RandomVerticalFlip(1.0)]),
    *(
        Case("Mirrors and turns behind the last crop", [SQUARE, turn], None, levels, share, True)
        for turn, levels, share in (
            (v2.RandomRotation((25, 25)), 0, 0.01),
            (v2.RandomRotation((25, 25), BILINEAR, fill=7), 1, 0),
            (v2.RandomAffine((-20, -20), None, (0.8, 0.8), (10, 10, -5, -5)), 0, 0.01),
            (v2.RandomAffine((-20, -20), None, (0.8, 0.8), (10, 10, -5, -5), BILINEAR), 1, 0),
            (v2.RandomPerspective(0.0, 1.0), 1, 0.002),
        )
    ),
    Case("Colour", [v2.Grayscale(3)], tensor=True),
    Case("Colour", [v2.RandomGrayscale(1.0)], tensor=True),
    Case("Colour", [v2.ColorJitter((1.3, 1.3))], tensor=True),
    Case("Colour", [v2.ColorJitter(0, (0.7, 0.7))], levels=1, tensor=True),
    Case("Colour", [v2.ColorJitter(0, 0, (1.4, 1.4))], levels=1, tensor=True),
    Case("Colour", [v2.ColorJitter(0, 0, 0, (0.1, 0.1))], levels=1, tensor=True),
    Case("Colour", [v2.RandomInvert(1.0)]),
    Case("Colour", [v2.RandomPosterize(3, 1.0)]),
    Case("Colour", [v2.RandomSolarize(128, 1.0)]),
    Case("Colour", [v2.RandomAutocontrast(1.0)], levels=1, tensor=True),
    Case("Colour", [v2.RandomEqualize(1.0)], tensor=True),
    Case("Colour", [v2.RandomAdjustSharpness(2, 1.0)], levels=1, tensor=True),
    Case("Colour", [v2.GaussianBlur(5, (1.2, 1.2))], levels=1, tensor=True),
    Case("Colour", [v2.RandomChannelPermutation()], orders, tensor=True),
    Case(
        "Colour", [v2.RandomPhotometricDistort((1, 1), (1, 1), (1, 1), (0, 0), 0.5)], orders, 1, tensor=True
    ),
]


COMPOSED = [
    [v2.RandomRotation((25, 25), BILINEAR), v2.Resize((48, 48))],
    [v2.RandomAffine((10, 10), None, (0.8, 0.8), None, BILINEAR), v2.CenterCrop(90)],
    [v2.RandomHorizontalFlip(1.0), v2.RandomRotation((45, 45), BILINEAR, expand=True), v2.Resize((48, 48))],
    [v2.Pad(20, 0, "reflect"), v2.RandomRotation((10, 10), BILINEAR), v2.CenterCrop(120)],
    [v2.Resize(120), v2.CenterCrop(100), v2.Resize((48, 48))],
    [v2.Pad(9), v2.Resize((64, 64))],
]
GEOMETRY = "tests/ops/test_geometry.py"
DISTRIBUTED = [
    ("RandAugment", "test_choices_are_torchvisions", "tests/ops/test_policy.py"),
    ("TrivialAugmentWide", "test_choices_are_torchvisions", "tests/ops/test_policy.py"),
    ("AutoAugment", "test_choices_are_torchvisions", "tests/ops/test_policy.py"),
    ("AugMix", "test_choices_are_torchvisions", "tests/ops/test_policy.py"),
    ("RandomResizedCrop", "test_crops_are_torchvisions", "tests/plan/test_draw.py"),
    ("RandomErasing", "test_erasing_is_torchvisions", "tests/plan/test_draw.py"),
    ("MixUp", "test_lam_is_beta", "tests/plan/test_draw.py"),
    ("CutMix", "test_lam_is_beta", "tests/plan/test_draw.py"),
    ("RandomCrop", "test_crops_and_sizes_are_distributed_as_torchvisions", "tests/ops/test_geometry.py"),
    (
        "RandomShortestSize",
        "test_crops_and_sizes_are_distributed_as_torchvisions",
        "tests/ops/test_geometry.py",
    ),
    ("RandomRotation", "test_turns_are_distributed_as_torchvisions", "tests/ops/test_geometry.py"),
    ("RandomAffine", "test_turns_are_distributed_as_torchvisions", "tests/ops/test_geometry.py"),
    ("RandomPerspective", "test_turns_are_distributed_as_torchvisions", "tests/ops/test_geometry.py"),
    (
        "RandomPhotometricDistort",
        "test_photometric_distortion_is_distributed_as_torchvisions",
        "tests/ops/test_geometry.py",
    ),
]
REFUSED = [
    v2.RandomResize(8, 16),
    v2.ScaleJitter((8, 8)),
    v2.RandomZoomOut(),
    v2.RandomIoUCrop(),
    v2.ElasticTransform(),
    v2.GaussianNoise(),
    v2.JPEG(50),
    v2.RandomOrder([v2.RandomGrayscale()]),
    v2.Lambda(abs),
]


def ours(transforms: list[Any], image: np.ndarray, n: int = 1) -> tuple[np.ndarray, fa.BatchPlan]:
    data = np.stack([image] * n), np.arange(n)
    with fa.loader(data, n, augment=transforms, dtype=torch.uint8, seed=3, with_plan=True) as loader:
        images, _, plan = next(iter(loader))
    return _whole(images, 2).numpy().astype(int), plan


def _whole(images: Any, axis: int) -> torch.Tensor:
    """Several images of one below each other."""
    if not isinstance(images, (list, tuple)):
        return images
    each = [i if isinstance(i, torch.Tensor) else v2.functional.pil_to_tensor(i) for i in images]
    return torch.cat(each, axis)


@cache
def measured(number: int) -> tuple[int, float]:
    """The largest difference in levels, and the share of pixels that differ by more than they may."""
    case, image = CASES[number], photo()
    made, _ = ours([*([v2.ToImage()] if case.tensor else []), *case.transforms], image)
    tensor = torch.from_numpy(image.copy()).permute(2, 0, 1)
    if case.outcomes is not None:
        wanted = case.outcomes(tensor)
    else:
        given: Any = tensor if case.tensor else Image.fromarray(image)
        wanted = [
            v2.functional.pil_to_tensor(out) if isinstance(out, Image.Image) else _whole(out, 1)
            for out in [v2.Compose(case.transforms)(given)]
        ]
    off = min((np.abs(made[0] - want.numpy()) for want in wanted), key=lambda d: d.sum())
    return int(off.max()), float((off.max(0) > case.levels).mean())


@cache
def compared(number: int) -> tuple[float, float]:
    """PSNR to the supersampled crop: ours, and torchvision's one step after the other."""
    transforms, image = COMPOSED[number], photo(171, 197)
    made, plan = ours(transforms, image)
    source = image
    theirs = v2.functional.pil_to_tensor(v2.Compose(transforms)(Image.fromarray(image)))
    if plan["padding_mode"][0]:  # the reference has no padding of its own
        y0, x0, y1, x1 = plan["frame"][0].tolist()
        row = plan.rows[0]
        source = np.pad(
            image,
            ((-y0, y1 - row["h"]), (-x0, x1 - row["w"]), (0, 0)),
            ["constant", "edge", "reflect", "symmetric"][row["padding_mode"]],
        )
        plan.rows["warp_map"][0] = (
            np.array([[1, 0, -x0], [0, 1, -y0], [0, 0, 1]]) @ row["warp_map"].reshape(3, 3)
        ).ravel()
    want = supersampled(source, plan, 0)
    return psnr(made[0].transpose(1, 2, 0), want), psnr(theirs.permute(1, 2, 0).numpy(), want)


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda k: CASES[k].name[:60])
def test_a_transform_is_as_the_page_says(number):
    levels, share = measured(number)
    assert share <= CASES[number].share, (levels, share)


@pytest.mark.parametrize("number", range(len(COMPOSED)), ids=str)
def test_a_composed_one_is_near_the_supersampled(number):
    own, theirs = compared(number)
    assert own > 38, (own, theirs)


@pytest.mark.parametrize("transform", REFUSED, ids=lambda t: type(t).__name__)
def test_what_is_refused_says_what_to_use_instead(transform):
    with pytest.raises(ValueError, match=type(transform).__name__):
        fa.from_torchvision(v2.Compose([transform]))


def test_distributions_are_tested():
    root = PAGE.parent.parent
    for name, test, file in DISTRIBUTED:
        assert f"def {test}(" in (root / file).read_text(), name


def test_the_page_is_what_runs():
    assert PAGE.read_text() == page()


def test_no_transform_is_missing():
    """Those of torchvision's that make sense for classification."""
    text = PAGE.read_text()
    others = {  # of bounding boxes, key points and videos, containers, and conversions
        *("ClampBoundingBoxes", "ClampKeyPoints", "ConvertBoundingBoxFormat", "SanitizeBoundingBoxes"),
        *("SetClampingMode", "SanitizeKeyPoints", "UniformTemporalSubsample", "Transform", "Compose"),
        *("Identity", "ToPureTensor", "ToImage", "ToTensor", "ToDtype", "PILToTensor", "ToPILImage", "RGB"),
        *("ConvertImageDtype", "AutoAugmentPolicy", "InterpolationMode"),
    }
    for name, kind in vars(v2).items():
        if isinstance(kind, type) and name not in others:
            assert name in text, name


def verdict(number: int) -> str:
    case, (levels, _) = CASES[number], measured(number)
    if levels == 0:
        return "same bytes"
    bound = f"within {case.levels} level" + "s" * (case.levels > 1) if case.levels else "same bytes"
    tied = f", but for at most {100 * case.share:g} % of pixels, where two are as near"
    return bound + (tied if levels > case.levels else "")


def page() -> str:
    """The page's text."""
    lines = [TOP]
    for group in dict.fromkeys(case.group for case in CASES):
        lines += [f"\n## {group}\n", "| torchvision | fastaug |", "|---|---|"]
        lines += [f"| {case.name} | {verdict(k)} |" for k, case in enumerate(CASES) if case.group == group]
    lines += [
        COMPOSITION,
        "| torchvision | fastaug, PSNR at least | torchvision's steps, PSNR |",
        "|---|---|---|",
    ]
    for k, transforms in enumerate(COMPOSED):
        own, theirs = compared(k)
        name = ", ".join(f"`{said(t)}`" for t in transforms)
        lines.append(f"| {name} | {int(own)} dB | {int(theirs)} dB |")
    lines += [RANDOM]
    lines += [f"- `{name}`: `{test}` in {file}" for name, test, file in DISTRIBUTED]
    lines += ["\n## Refused\n", "| torchvision | what the message says |", "|---|---|"]
    for transform in REFUSED:
        with pytest.raises(ValueError, match="transform 1") as caught:
            fa.from_torchvision(v2.Compose([transform]))
        words = re.sub(r"^.*?(\)|\.\.\.): ", "", str(caught.value)).partition("; drop it")[0]
        lines.append(f"| `{type(transform).__name__}` | {words} |")
    lines += [REST]
    return "\n".join(lines) + "\n"


TOP = """\
# torchvision's transforms

What `fastaug.from_torchvision`, and a loader of a data set with a `transform`, make of each
transform of `torchvision.transforms.v2` that is of use for classification; v1's are the same. This
page is written by `python -m tests.test_transforms`, which runs everything in it; a test compares
it. Parameters leave nothing to chance here, or all outcomes are compared. Turns and blends are
compared with torchvision on uint8 tensors, sizes with torchvision on PIL images."""
COMPOSITION = """
## Turns and scalings before the last crop

They become one map with the crop: the image is read once and interpolated once, by the triangle
filter (or the crop's other filter) along the output's axes, as wide as a step there and at least as
wide as a pixel of the image. No whole image is made on the way. torchvision makes one image after
the other, each interpolated. The reference is 4 x 4 samples a pixel by bilinear interpolation, made
smaller by Pillow's triangle. What also differs: places are rounded to 1/32 pixel where the map is
affine; what a first turn moves out of the image and a second one back into it is shown; of a turn's
own `interpolation` no use is made where a Resize or crop behind or before it scales; fills of
several turns must be the same. Padding by "reflect" or "symmetric" comes before all that scales.

Colour before a crop is carried out behind it where that is the same, up to rounding:
`RandomGrayscale`, `ColorJitter` of brightness and saturation, `RandomChannelPermutation`,
`RandomInvert` without padding. Else it is refused: contrast, equalizing and blurs depend on all of
an image.
"""
RANDOM = """
## Distributions

What is drawn at random is compared with torchvision's own draws by Kolmogorov and Smirnov's test,
or in proportion:
"""
REST = """
`Normalize`, `RandomApply`, `RandomChoice` and the conversions are read as well.
`LinearTransformation` is refused: it mixes all pixels with each other; take `Normalize`."""


if __name__ == "__main__":
    PAGE.write_text(page())
