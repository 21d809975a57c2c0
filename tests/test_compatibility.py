"""docs/compatibility.md, made by running everything in it beside torch's DataLoader.

``python -m tests.test_compatibility`` writes it anew.
"""

from __future__ import annotations

import io
import itertools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils import data as tud
from torch.utils.data import DataLoader, Dataset
from torchvision import datasets as tv
from torchvision.transforms import v2

import fastaug as fa

from .call.sets import Photos, photo
from .call.test_transforms import Wrapped
from .test_scripts import NAMES, SCRIPTS, swapped

PAGE = Path(fa.__file__).parent.parent / "docs" / "compatibility.md"
MEAN, STD = [0.5] * 3, [0.25] * 3
EVEN = v2.Compose(
    [
        v2.Resize((32, 40)),
        v2.CenterCrop(24),
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(MEAN, STD),
    ]
)
INSIDE = v2.Compose([v2.Lambda(lambda image: image), *EVEN.transforms])
N = 14
LEVEL = 1.01 / 255 / 0.25  # of a normalized pixel


@dataclass
class Case:
    """A construction.

    Attributes:
        group: the table that it stands in.
        name: what it is, in words.
        data: makes the data set.
        options: DataLoader's arguments.
        ours: more, for fastaug alone.
        differs: how the two differ, where they do; None: they give the same.
        refused: what the message says, where it is refused.
        check: another comparison of all batches.
    """

    group: str
    name: str
    data: Callable[[], Any]
    options: dict[str, Any] = field(default_factory=dict)
    ours: dict[str, Any] = field(default_factory=dict)
    differs: str | None = None
    refused: str | None = None
    check: Callable[[list[Any], list[Any]], bool] | None = None

    @property
    def verdict(self) -> str:
        if self.refused is not None:
            return f"refused: {self.refused}"
        return "same as DataLoader" if self.differs is None else f"differs: {self.differs}"


@cache
def folder() -> str:
    root = Path(tempfile.mkdtemp(prefix="compatibility-"))
    for k in range(N):
        place = root / "abcd"[k % 4]
        place.mkdir(exist_ok=True)
        Image.fromarray(photo(k, 50, 60)).save(place / f"{k:02}.png")
    return str(root)


def files(transform: Any = EVEN, **options: Any) -> tv.ImageFolder:
    return tv.ImageFolder(folder(), transform, **options)


def arrays(kind: type, transform: Any = EVEN, gray: bool = False) -> Any:
    """A data set of torchvision's over made arrays."""
    pixels = np.stack([photo(k, 32, 32) for k in range(N)])
    held = torch.from_numpy(pixels[..., 0].copy()) if gray else pixels
    made = object.__new__(kind)
    targets = torch.arange(N) % 4 if gray else [k % 4 for k in range(N)]
    vars(made).update(data=held, targets=targets, transform=transform, target_transform=None, transforms=None)
    return made


class Given(Dataset):
    """Gives what a function makes of (number, pixels)."""

    def __init__(self, give: Callable[[int, np.ndarray], Any]) -> None:
        self.give = give

    def __len__(self) -> int:
        return N

    def __getitem__(self, i: int) -> Any:
        return self.give(i, photo(i, 32, 40))


def chw(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


def ready(pixels: np.ndarray) -> torch.Tensor:
    return EVEN(Image.fromarray(pixels))


def target(make: Callable[[int], Any]) -> Callable[[], Dataset]:
    return lambda: Given(lambda i, p: (ready(p), make(i)))


def encoded(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def hugging(**more: Any) -> Any:
    import datasets

    columns = {
        "image": [Image.fromarray(photo(k, 50, 60)) for k in range(N)],
        "label": [k % 4 for k in range(N)],
        **more,
    }
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=list("abcd"))}
    features.update({name: datasets.Value("int64") for name in more})
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def transformed() -> Any:
    return hugging().with_transform(
        lambda batch: {"pixel_values": [EVEN(image) for image in batch["image"]], "labels": batch["label"]}
    )


class Stream(tud.IterableDataset):
    def __iter__(self) -> Any:
        return iter([(ready(photo(k)), k) for k in range(N)])


class Unsized:
    def __iter__(self) -> Any:
        return iter(range(5))


def timm_folder() -> Any:
    from timm.data import ImageDataset

    return ImageDataset(folder(), transform=EVEN)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def pick(samples: list[Any]) -> tuple[torch.Tensor, list[int]]:
    return torch.stack([image for image, _ in samples]), [label for _, label in samples]


def same_samples(ours: list[Any], theirs: list[Any]) -> bool:
    return sorted(labels_of(ours)) == sorted(labels_of(theirs))


def labels_of(batches: list[Any]) -> list[int]:
    return list(itertools.chain(*(batch[1].tolist() for batch in batches)))


def dicts(ours: list[Any], theirs: list[Any]) -> bool:
    return all(set(a) == set(b) and same(a[k], b[k]) for a, b in zip(ours, theirs, strict=True) for k in a)


def timm_mixed() -> Any:
    from timm.data.mixup import FastCollateMixup

    return FastCollateMixup(0.2, 1.0, num_classes=4)


def mixed(samples: list[Any]) -> Any:
    return v2.MixUp(num_classes=4)(*tud.default_collate(samples))


def soft_targets(ours: list[Any], theirs: list[Any]) -> bool:
    return all(
        a[0].shape == b[0].shape and a[1].shape == b[1].shape for a, b in zip(ours, theirs, strict=True)
    )


def nothing(number: int) -> None:
    """Sets nothing up."""


RRC = [v2.RandomResizedCrop(24), *EVEN.transforms[2:]]
DATA, TARGETS, ORDER, BATCHES, WORKERS = "Data sets", "Targets", "Samplers and order", "Batches", "Workers"
CASES = [
    Case(DATA, "`ImageFolder`", files),
    Case(DATA, '`ImageFolder`, called (`source="call"`)', files, ours=dict(source="call")),
    Case(DATA, "`ImageFolder` with a `Lambda` in its transform", lambda: files(INSIDE)),
    Case(
        DATA,
        "`ImageFolder` with a `loader` of one's own",
        lambda: files(loader=lambda p: Image.open(p).convert("RGB")),
    ),
    Case(DATA, "`ImageFolder` with `target_transform`", lambda: files(target_transform=lambda c: 3 - c)),
    Case(
        DATA,
        "`ImageFolder` with `RandomResizedCrop`",
        lambda: files(v2.Compose(RRC)),
        differs="other random numbers, keyed by sample",
        check=same_samples,
    ),
    Case(DATA, "`Subset`", lambda: tud.Subset(files(), [5, 1, 1, 9])),
    Case(DATA, "`random_split`", lambda: tud.random_split(files(), [10, 4], generator())[0]),
    Case(DATA, "`ConcatDataset`", lambda: tud.ConcatDataset([files(), tud.Subset(files(), [3])])),
    Case(
        DATA,
        "`ConcatDataset`, parts with other transforms",
        lambda: tud.ConcatDataset([files(), files(v2.Compose([v2.CenterCrop(24), *EVEN.transforms[2:]]))]),
    ),
    Case(DATA, "`CIFAR10`", lambda: arrays(tv.CIFAR10)),
    Case(
        DATA,
        "`MNIST`, gray to three channels",
        lambda: arrays(tv.MNIST, v2.Compose([v2.Grayscale(3), *EVEN.transforms]), True),
    ),
    Case(
        DATA,
        "`MNIST`, one channel (`channels=1`)",
        lambda: arrays(tv.MNIST, v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]), True),
        ours=dict(channels=1),
    ),
    Case(DATA, "`FakeData`", lambda: tv.FakeData(N, (3, 24, 24), 4, v2.Compose(EVEN.transforms[1:]))),
    Case(
        DATA,
        'Hugging Face, image and label, `batch="dict"`',
        hugging,
        dict(collate_fn=None),
        dict(augment=[EVEN], batch="dict"),
        differs="DataLoader cannot collate PIL images",
        check=lambda ours, _: set(ours[0]) == {"image", "label"},
    ),
    Case(DATA, "Hugging Face with `with_transform`", transformed, check=dicts),
    Case(
        DATA,
        "Hugging Face with further columns",
        lambda: hugging(number=list(range(N))),
        ours=dict(augment=[EVEN]),
        differs="DataLoader cannot collate PIL images",
        check=lambda ours, _: set(ours[0]) == {"image", "label", "number"},
    ),
    Case(DATA, "timm's `ImageDataset`", timm_folder),
    Case(DATA, "own Dataset, PIL image, torchvision transform", lambda: Photos(N, EVEN)),
    Case(DATA, "own Dataset, a transform that stays inside", lambda: Photos(N, INSIDE)),
    Case(DATA, "own Dataset over another, with the transform", lambda: Wrapped(Photos(N), EVEN)),
    Case(DATA, "own Dataset, finished float tensors", target(lambda i: i)),
    Case(
        DATA,
        "own Dataset, uint8 tensors [C, H, W]",
        lambda: Given(lambda i, p: (chw(p), i)),
        ours=dict(dtype=torch.uint8),
    ),
    Case(
        DATA,
        "own Dataset, uint8 arrays [H, W, C]",
        lambda: Given(lambda i, p: (p, i)),
        ours=dict(dtype=torch.uint8),
        differs="channels first",
        check=lambda a, b: all(
            torch.equal(x[0].permute(0, 2, 3, 1), y[0]) for x, y in zip(a, b, strict=True)
        ),
    ),
    Case(
        DATA,
        "own Dataset, encoded bytes",
        lambda: Given(lambda i, p: (encoded(p), i)),
        ours=dict(augment=[EVEN]),
        differs="decoded",
        check=lambda a, _: a[0][0].shape == (4, 3, 24, 24),
    ),
    Case(
        DATA,
        "own Dataset, dicts",
        lambda: Given(lambda i, p: {"pixel_values": ready(p), "labels": i}),
        check=dicts,
    ),
    Case(
        DATA,
        "own Dataset, images alone",
        lambda: Given(lambda i, p: ready(p)),
        check=lambda a, b: all(same(x, y) for x, y in zip(a, b, strict=True)),
    ),
    Case(
        DATA,
        "own Dataset, 6 channels (`channels=6`)",
        lambda: Given(lambda i, p: (torch.cat([ready(p), -ready(p)]), i)),
        ours=dict(channels=6),
    ),
    Case(
        DATA,
        "`TensorDataset`",
        lambda: tud.TensorDataset(torch.stack([ready(photo(k)) for k in range(N)]), torch.arange(N)),
    ),
    Case(DATA, "list of (tensor, label)", lambda: [(ready(photo(k)), k) for k in range(N)]),
    Case(
        DATA, "`StackDataset`", lambda: tud.StackDataset([ready(photo(k)) for k in range(N)], list(range(N)))
    ),
    Case(DATA, "`IterableDataset`", Stream),
    Case(DATA, "`ChainDataset`", lambda: tud.ChainDataset([Stream(), Stream()])),
    Case(
        DATA,
        "object without `__len__`",
        lambda: type("Endless", (Dataset,), {"__getitem__": lambda s, i: i})(),
        refused="Endless has no length",
    ),
    Case(TARGETS, "floats", target(lambda i: i / 3)),
    Case(TARGETS, "multi-hot vectors", target(lambda i: torch.eye(5)[i % 5] + torch.eye(5)[2])),
    Case(TARGETS, "soft labels", target(lambda i: torch.softmax(torch.arange(4.0) * i, 0))),
    Case(TARGETS, "NumPy arrays", target(lambda i: np.arange(3) + i)),
    Case(TARGETS, "-100, which losses ignore", target(lambda i: -100 if i % 3 else i)),
    Case(TARGETS, "tuples", target(lambda i: (i, i / 2))),
    Case(TARGETS, "dicts", target(lambda i: {"a": i, "b": torch.ones(2) * i})),
    Case(TARGETS, "strings", target(lambda i: f"class {i}")),
    Case(
        TARGETS,
        "further parts: index, path, weight",
        lambda: Given(lambda i, p: (ready(p), i % 4, i, f"{i}.png", i / 2)),
    ),
    Case(
        TARGETS,
        "multi-hot with paths: a list of (path, target)",
        lambda: [(path, torch.eye(4)[y]) for path, y in files().samples],
        ours=dict(augment=[EVEN]),
        differs="DataLoader gives the paths",
        check=lambda a, b: all(torch.equal(x[1], y[1]) for x, y in zip(a, b, strict=True)),
    ),
    Case(
        ORDER,
        "`shuffle=True`",
        files,
        dict(shuffle=True),
        differs="another permutation, keyed by (seed, epoch)",
        check=same_samples,
    ),
    Case(
        ORDER,
        "`RandomSampler` with a generator",
        files,
        dict(sampler=lambda d: tud.RandomSampler(d, generator=generator())),
    ),
    Case(
        ORDER,
        "`WeightedRandomSampler` with a generator",
        files,
        dict(sampler=lambda d: tud.WeightedRandomSampler([1.0] * N, 9, generator=generator())),
    ),
    Case(
        ORDER,
        "`SubsetRandomSampler` with a generator",
        files,
        dict(sampler=lambda d: tud.SubsetRandomSampler([1, 5, 7], generator())),
    ),
    Case(ORDER, "`DistributedSampler`", files, dict(sampler=lambda d: tud.DistributedSampler(d, 2, 1))),
    Case(ORDER, "`SequentialSampler`", files, dict(sampler=lambda d: tud.SequentialSampler(d))),
    Case(
        ORDER,
        "`BatchSampler`",
        files,
        dict(batch_sampler=lambda d: tud.BatchSampler(tud.SequentialSampler(d), 3, True), batch_size=1),
    ),
    Case(ORDER, "a list of numbers", files, dict(sampler=lambda d: [3, 3, 0])),
    Case(ORDER, "a sampler that gives tensors", files, dict(sampler=lambda d: torch.tensor([3, 1, 2]))),
    Case(ORDER, "a sampler without a length", files, dict(sampler=lambda d: Unsized())),
    Case(
        ORDER,
        "a sampler with `drop_last=True`",
        files,
        dict(sampler=lambda d: list(range(6)), drop_last=True),
    ),
    Case(
        ORDER,
        "`generator=`",
        files,
        dict(shuffle=True, generator=generator()),
        differs="the seed is drawn from it, the permutation is ours",
        check=same_samples,
    ),
    Case(
        ORDER,
        "sampler and `shuffle=True`",
        files,
        dict(sampler=lambda d: [1], shuffle=True),
        refused="sampler decides the order",
    ),
    Case(BATCHES, "`drop_last=True`", files, dict(drop_last=True)),
    Case(
        BATCHES,
        "`batch_size=None`: samples one by one",
        files,
        dict(batch_size=None),
        check=lambda a, b: all(same(x[0], y[0]) and x[1] == y[1] for x, y in zip(a, b, strict=True)),
    ),
    Case(BATCHES, "`collate_fn=default_collate`", files, dict(collate_fn=tud.default_collate)),
    Case(BATCHES, "a `collate_fn` of one's own", files, dict(collate_fn=pick)),
    Case(
        BATCHES,
        "a `collate_fn` with torchvision's MixUp",
        files,
        dict(collate_fn=mixed),
        differs="other random numbers",
        check=soft_targets,
    ),
    Case(
        BATCHES,
        "timm's `FastCollateMixup`",
        files,
        dict(collate_fn=None),
        dict(collate_fn=timm_mixed),
        differs="mixed by our kernels",
        check=lambda a, _: a[0][1].shape == (4, 4),
    ),
    Case(
        BATCHES,
        "a `collate_fn` of one's own and MixUp in `augment`",
        files,
        dict(collate_fn=pick),
        dict(augment=[EVEN, fa.MixUp(0.2)]),
        refused="collate_fn gets targets as the data set gives them",
    ),
    Case(BATCHES, "`pin_memory=True`", files, dict(pin_memory=True), ours=dict(device="cpu")),
    Case(WORKERS, "`num_workers=2`", lambda: Photos(N, EVEN), dict(num_workers=2)),
    Case(
        WORKERS,
        "`persistent_workers=True`",
        lambda: Photos(N, EVEN),
        dict(num_workers=2, persistent_workers=True),
    ),
    Case(
        WORKERS,
        '`multiprocessing_context="spawn"`',
        lambda: Photos(N, EVEN),
        dict(num_workers=1, multiprocessing_context="spawn"),
    ),
    Case(WORKERS, "`worker_init_fn`", lambda: Photos(N, EVEN), dict(num_workers=2, worker_init_fn=nothing)),
    Case(
        WORKERS,
        "`timeout=`, `prefetch_factor=`",
        lambda: Photos(N, EVEN),
        dict(num_workers=2, timeout=60, prefetch_factor=4),
    ),
    Case(
        WORKERS,
        'threads (`workers="thread"`)',
        lambda: Photos(N, EVEN),
        dict(num_workers=2),
        dict(workers="thread"),
    ),
    Case(
        WORKERS,
        "`persistent_workers=True` without workers",
        lambda: Photos(N, EVEN),
        dict(persistent_workers=True),
        refused="persistent_workers option needs num_workers > 0",
    ),
]


def same(a: Any, b: Any) -> bool:
    """Whether two batches, or parts of them, are the same: images up to a level of a pixel."""
    if isinstance(a, torch.Tensor):
        if a.shape != b.shape or a.dtype != b.dtype:
            return False
        return (
            bool((a - b).abs().max() <= LEVEL) if a.is_floating_point() and a.ndim >= 3 else torch.equal(a, b)
        )
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def alike(ours: list[Any], theirs: list[Any]) -> bool:
    """Whether all batches are the same."""
    return len(ours) == len(theirs) and all(same(list(x), list(y)) for x, y in zip(ours, theirs, strict=True))


def batches(case: Case, ours: bool) -> list[Any]:
    data = case.data()
    options = {"batch_size": 4, **case.options, **(case.ours if ours else {})}
    for name in ("sampler", "batch_sampler"):
        if name in options:
            options[name] = options[name](data)
    if callable(options.get("collate_fn")) and options["collate_fn"] is timm_mixed:
        options["collate_fn"] = timm_mixed()
    if not ours:
        return list(DataLoader(data, **options))
    with fa.loader(data, **options) as loader:
        return list(loader)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_construction_is_as_the_page_says(case):
    if "Hugging" in case.name:
        pytest.importorskip("datasets")
    if "timm" in case.name:
        pytest.importorskip("timm")
    if case.refused is not None:
        with pytest.raises((TypeError, ValueError), match=case.refused.replace("(", r"\(")):
            batches(case, True)
        return
    torch.manual_seed(0)
    ours = batches(case, True)
    try:
        torch.manual_seed(0)
        theirs = batches(case, False)
    except TypeError:
        assert case.differs is not None
        theirs = []
    check = case.check or alike
    assert check(ours, theirs)
    if case.differs is not None and theirs:
        assert len(ours) == len(theirs)


HEAD = """# What fits where torch's DataLoader does

`fastaug.loader(dataset, ...)` beside `DataLoader(dataset, ...)` with the same arguments. "Same" means: the
same samples in the same batches, the same targets, images within a level of a pixel (deterministic
transforms). Every line is run by `tests/test_compatibility.py`, which writes this page.
"""


def page() -> str:
    lines = [HEAD]
    for group, cases in itertools.groupby(CASES, lambda case: case.group):
        lines += [f"## {group}\n", "| | |", "|---|---|"]
        for case in cases:
            more = {k: v for k, v in case.ours.items() if k in ("dtype", "augment")}
            note = f" (with {' and '.join(f'`{k}=`' for k in more)})" if more else ""
            lines.append(f"| {case.name}{note} | {case.verdict} |")
        lines.append("")
    lines += [
        "## Scripts and trainers\n",
        "`tests/test_scripts.py` runs each with the swap, and trains two of them both ways.\n",
    ]
    lines += ["| | lines that are new |", "|---|---|"]
    for name in NAMES:
        doc = (SCRIPTS / f"{name}.py").read_text().split('"""')[1].strip()
        lines.append(f"| [{name}.py](../tests/scripts/{name}.py): {doc} | {len(swapped(name)[1])} |")
    lines.append("")
    return "\n".join(lines)


def test_the_page_is_what_the_cases_say():
    assert len(CASES) >= 60
    assert PAGE.read_text() == page(), "run python -m tests.test_compatibility"


if __name__ == "__main__":
    PAGE.write_text(page())
