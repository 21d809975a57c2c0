"""Several views of each image: each what it is alone, wherever images come from; and how they are written."""

from __future__ import annotations

import os
import random
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

import fastaug as fa
from fastaug.arguments import augmentations
from fastaug.recipes import VIEWS, recipe, views

from .conftest import write_corrupt
from .simulated import SimulatedDevice

LARGE = [
    fa.RandomResizedCrop(40, (0.4, 1), interpolation="bicubic"),
    fa.RandomHorizontalFlip(),
    fa.ColorJitter(0.4, 0.4, 0.2, 0.1),
    fa.Cutout(8),
    fa.Normalize(),
]
SMALL = [fa.RandomRotation(20), fa.RandomResizedCrop(16, (0.05, 0.4)), fa.GaussianBlur(5), fa.Normalize()]
MIXED = fa.Views([LARGE] * 2 + [SMALL] * 3)


class Called(torch.utils.data.Dataset):
    """Images that only a call gives."""

    def __init__(self, count: int = 24, pixels: type = np.uint8) -> None:
        self.count, self.pixels = count, pixels

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> tuple[object, int]:
        noise = np.random.default_rng(i).integers(0, 256, (50 + i, 60, 3), np.uint8)
        if self.pixels is np.float32:
            return (noise / 255).astype(np.float32), i
        return Image.fromarray(noise), i


def arrays(count: int = 24) -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(0).integers(0, 256, (count, 48, 56, 3), np.uint8), np.arange(count)


@pytest.fixture(scope="module")
def turned(tmp_path_factory, photos) -> str:
    """JPEGs with every EXIF orientation, and other formats."""
    folder = tmp_path_factory.mktemp("turned")
    (folder / "a").mkdir()
    files = sorted(Path(photos).rglob("*.jpg"))
    for k in range(8):
        with Image.open(files[k]) as image:
            exif = image.getexif()
            exif[0x0112] = k + 1
            image.save(folder / "a" / f"{k}.jpg", exif=exif, quality=90)
            image.convert("RGB").save(folder / "a" / f"{k}.{('png', 'webp')[k % 2]}")
            image.save(folder / "a" / f"{k}p.jpg", progressive=True)
    return str(folder)


def each_view(data, given: fa.Views, **options) -> list[tuple[list[torch.Tensor], fa.ViewsPlan]]:
    with fa.loader(data, 6, True, augment=given, seed=5, with_plan=True, **options) as loader:
        return [(images, plan) for images, _, plan in loader]


DATA = {
    "files": ("turned", {}),
    "files of DALI": ("turned", {"decode": "dali"}),
    "arrays": (arrays, {}),
    "called": (Called, {}),
    "called in processes": (Called, {"num_workers": 2}),
    "called in threads": (Called, {"num_workers": 2, "workers": "thread"}),
}


@pytest.mark.parametrize("name", DATA)
def test_each_view_is_what_it_is_alone(name, turned):
    """Each image is read once, as the union of its views' boxes: that changes no pixel."""
    data, options = DATA[name]
    if "DALI" in name:
        pytest.importorskip("nvidia.dali")
    data = turned if data == "turned" else data()
    for images, plan in each_view(data, MIXED, **options):
        assert [tuple(view.shape[1:]) for view in images] == [(3, 40, 40)] * 2 + [(3, 16, 16)] * 3
        for k, ops in enumerate(MIXED.lists):
            with fa.loader(data, 6, augment=list(ops), seed=5, **options) as alone:
                assert torch.equal(alone.replay(plan.views[k])[0], images[k]), k
        assert not torch.equal(images[0], images[1])
        assert not torch.equal(images[2], images[3])


def test_pixels_that_are_smaller_where_that_suffices(turned):
    """Reduced decoding is that of the largest view; places stay where they are."""
    plain = fa.Views([[fa.Resize((12, 12))], [fa.RandomResizedCrop(8, (0.3, 1))]])
    whole = each_view(turned, plain, dtype=torch.uint8)
    small = each_view(turned, plain, dtype=torch.uint8, decode=fa.Decode(scaled=True))
    for (one, _), (other, _) in zip(whole, small, strict=True):
        for a, b in zip(one, other, strict=True):
            assert (a.int() - b.int()).abs().float().mean() < 4


def test_a_view_is_the_same_at_any_number_of_views_and_batch_size(photos):
    few = fa.Views(MIXED.lists[:3])
    want = [view for images, _ in each_view(photos, MIXED) for view in zip(*images[:3], strict=True)]
    with fa.loader(photos, 4, True, augment=few, seed=5, num_workers=2) as loader:
        got = [view for images, _ in loader for view in zip(*images, strict=True)]
    for a, b in zip(got, want, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    with fa.loader(photos, 4, True, augment=LARGE, seed=5) as loader:  # and the first is the only one's
        only = [image for images, _ in loader for image in images]
    assert all(torch.equal(a, b[0]) for a, b in zip(only, want, strict=True))


def test_executors_agree(photos):
    native = each_view(photos, MIXED)[0]
    with fa.loader(photos, 6, augment=MIXED, seed=5, executor="kornia") as loader:
        kornia = loader.replay(native[1])[0]
    for a, b in zip(native[0], kornia, strict=True):
        assert (a - b).abs().max() < 0.02


@pytest.mark.parametrize("decode", ["cpu", "gpu"])
def test_on_the_simulated_device(photos, monkeypatch, decode):
    """Kernels on the device make the CPU's bytes; the GPU's decoder makes its own crops, of every view."""
    pytest.importorskip("nvidia.dali")
    plain = fa.Views([[op for op in ops if not isinstance(op, fa.RandomRotation)] for ops in MIXED.lists])
    want = each_view(photos, plain)
    device = SimulatedDevice(1)
    monkeypatch.setattr(sys.modules["fastaug.build"], "make_device", lambda wanted: device)
    with fa.loader(photos, 6, True, augment=plain, seed=5, decode=decode) as loader:
        got = []
        for images, targets in loader:
            got.append([device.read(view) for view in images])
            assert len(targets) == len(images[0])
        device.synchronize()
    for reads, (images, _) in zip(got, want, strict=True):
        for read, image in zip(reads, images, strict=True):
            theirs = torch.from_numpy(read.copy()).view(torch.float32).reshape(image.shape)
            assert torch.equal(theirs, image) if decode == "cpu" else (theirs - image).abs().mean() < 0.1


def test_plans_are_printed_saved_replayed_and_checked(photos, tmp_path):
    with fa.loader(photos, 6, True, augment=MIXED, seed=5, with_plan=True) as loader:
        images, targets, plan = next(iter(loader))
        plan.save(tmp_path / "plan.npz")
        again, same, read = loader.replay(fa.ViewsPlan.load(tmp_path / "plan.npz"))
        assert all(torch.equal(a, b) for a, b in zip(images, again, strict=True))
        assert torch.equal(targets, same)
        assert str(read).count("BatchPlan of 6 samples") == len(MIXED) == len(read.views)
        assert "view 4: " in str(read)
        assert "40x40" in repr(read)
        assert read["index"].shape == (5, 6)
        assert read["occurrence"].tolist() == [[k << 16] * 6 for k in range(5)]
        with pytest.raises(ValueError, match="is not a plan that this version"):
            fa.BatchPlan.load(tmp_path / "plan.npz")
        plan.views[2].save(tmp_path / "one.npz")
        with pytest.raises(ValueError, match="is not a plan that this version"):
            fa.ViewsPlan.load(tmp_path / "one.npz")
        wrong = replace(plan.views[3], rows=plan.views[3].rows.copy())
        for column, why in (
            ("index", "index"),
            ("occurrence", "occurrence"),
            ("h", "frame"),
            ("flip", "flip"),
        ):
            wrong.rows[:] = plan.views[3].rows
            wrong.rows[column][2] = wrong.rows[column][2] + 70000
            broken = fa.ViewsPlan((*plan.views[:3], wrong, plan.views[4]))
            with pytest.raises(ValueError, match=f"view 3: row 2 of the plan has .*({why})"):
                loader.replay(broken)
            broken_file = tmp_path / f"{column}.npz"
            broken.save(broken_file)
            with pytest.raises(ValueError, match="view 3: row 2"):
                fa.ViewsPlan.load(broken_file)
        with pytest.raises(ValueError, match="a ViewsPlan has 0 views"):
            fa.ViewsPlan(())
        with pytest.raises(ValueError, match="the plan has 4 views; it must have 5"):
            loader.replay(fa.ViewsPlan(plan.views[:4]))
        with pytest.raises(ValueError, match="the plan has 1 views; it must have 5"):
            loader.replay(plan.views[0])
        with pytest.raises(ValueError, match="view 1: its number of rows"):
            fa.ViewsPlan((plan.views[0], plan.views[1].take([0, 1]))).check()


@pytest.mark.parametrize("on_error", ["skip", "replace"])
def test_bad_files_are_bad_in_all_views(photos, tmp_path, on_error):
    (tmp_path / "a").mkdir()
    for k, file in enumerate(sorted(Path(photos).rglob("*.jpg"))[:8]):
        os.link(file, tmp_path / "a" / f"{k}.jpg")
    bad = str(write_corrupt(tmp_path))
    options = {"augment": MIXED, "seed": 5, "on_error": on_error, "max_bad": None, "with_plan": True}
    with fa.loader(tmp_path, 9, **options) as loader:
        images, targets, plan = next(iter(loader))
        again, _, _ = loader.replay(plan)
        assert list(loader.bad_files) == [bad]
    assert len(targets) == len(plan) == (8 if on_error == "skip" else 9)
    assert {len(view) for view in images} == {len(plan)}
    assert all(torch.equal(a, b) for a, b in zip(images, again, strict=True))
    assert all((view["index"] == plan.views[0]["index"]).all() for view in plan.views)


def test_mixed_views_have_targets_of_their_own(photos):
    mixed = fa.Views([[*LARGE[:-1], fa.MixUp(1.0), LARGE[-1]]] * 2)
    with fa.loader(photos, 6, augment=mixed, num_classes=30, seed=5, with_plan=True) as loader:
        _, targets, plan = next(iter(loader))
    assert [list(t.shape) for t in targets] == [[6, 30]] * 2
    assert (plan.views[0]["lam"] != plan.views[1]["lam"]).all()
    for k, view in enumerate(plan.views):
        ids = [Path(name).parent.name for name in map(loader._pipeline.source.name, view["index"])]
        own = torch.tensor([loader.classes.index(name) for name in ids])
        lam = torch.from_numpy(view["lam"])
        want = torch.zeros(6, 30).scatter_add_(1, own[:, None], lam[:, None])
        want.scatter_add_(1, own[view["partner"].astype(int)][:, None], 1 - lam[:, None])
        assert torch.allclose(targets[k], want)


def test_every_form_of_a_batch(photos):
    twice = fa.Views([LARGE] * 2)
    with fa.loader(photos, 4, augment=twice, seed=5, batch="dict") as loader:
        batch = next(iter(loader))
        assert [len(view) for view in batch["image"]] == [4, 4]
    with fa.loader(photos, 4, augment=twice, seed=5, collate_fn=lambda samples: samples) as loader:
        samples = next(iter(loader))
        assert len(samples) == 4
        assert [list(view.shape) for view in samples[0][0]] == [[3, 40, 40]] * 2
        assert torch.equal(samples[1][0][1], batch["image"][1][1])
    with fa.loader(photos, None, augment=twice, seed=5) as loader:
        (first, second), _ = next(iter(loader))
        assert torch.equal(second, batch["image"][1][0])
        assert torch.equal(first, batch["image"][0][0])
    with fa.loader(photos, 4, augment=twice, seed=5, extra=lambda images: images * 2) as loader:
        doubled, _ = next(iter(loader))
        assert all(torch.equal(a, 2 * b) for a, b in zip(doubled, batch["image"], strict=True))


def test_a_run_goes_on_in_the_middle_of_an_epoch(photos):
    with fa.loader(photos, 6, True, augment=MIXED, seed=5) as loader:
        batches = iter(loader)
        next(batches)
        state = loader.state_dict()
        want = next(batches)[0]
    with fa.loader(photos, 6, True, augment=MIXED, seed=5) as loader:
        loader.load_state_dict(state)
        assert all(torch.equal(a, b) for a, b in zip(next(iter(loader))[0], want, strict=True))
    with (
        fa.loader(photos, 6, True, augment=fa.Views([LARGE] * 2), seed=5) as loader,
        pytest.raises(ValueError, match="the state's augment is"),
    ):
        loader.load_state_dict(state)


def test_views_follow_a_schedule(photos):
    later = fa.Views([[fa.RandomResizedCrop(24), LARGE[-1]]] * 2)
    with fa.loader(photos, 6, augment=fa.schedule({0: fa.Views([LARGE] * 2), 1: later}), seed=5) as loader:
        sides = [next(iter(loader))[0][0].shape[-1] for _ in range(2)]
        assert "epoch 1" in repr(loader)
    assert sides == [40, 24]
    with pytest.raises(ValueError, match="other numbers of views"):
        fa.loader(photos, 6, augment=fa.schedule({0: LARGE, 1: later}))
    with pytest.raises(ValueError, match="give the Views of each stage"):
        fa.schedule(later, 10, size=(32, 64))  # type: ignore[arg-type]


def test_images_of_floats(photos):
    plain = fa.Views([[fa.RandomCrop(32), fa.RandomHorizontalFlip()], [fa.CenterCrop(20)]])
    data = np.random.default_rng(0).integers(0, 60000, (8, 40, 44, 3)).astype(np.uint16), np.arange(8)
    with fa.loader(data, 4, augment=plain, seed=1, with_plan=True) as loader:
        images, _, plan = next(iter(loader))
    for k, ops in enumerate(plain.lists):
        with fa.loader(data, 4, augment=list(ops), seed=1) as alone:
            assert torch.equal(alone.replay(plan.views[k])[0], images[k])


def test_augment_makes_views_of_a_batch():
    images, _ = arrays(6)
    masks = np.random.default_rng(1).integers(0, 9, (6, 48, 56))
    geometry = [fa.RandomResizedCrop(24), fa.RandomHorizontalFlip()]
    augment = fa.Augment(fa.Views([geometry, [fa.Resize((8, 8))]]), seed=3)
    made, maps, plan = augment(images, masks=masks, with_plan=True)
    assert [list(view.shape) for view in made] == [[6, 3, 24, 24], [6, 3, 8, 8]]
    assert [list(view.shape) for view in maps] == [[6, 24, 24], [6, 8, 8]]
    alone, own = fa.Augment(geometry, seed=3)(images, masks=masks)
    assert torch.equal(alone, made[0])
    assert torch.equal(own, maps[0])
    assert len(plan.views) == 2


class Streamed(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter([Called(4)[i] for i in range(4)])


def test_streams_give_views():
    batch, targets = next(iter(fa.loader(Streamed(), 4, augment=fa.Views([LARGE] * 2))))
    assert [list(view.shape) for view in batch] == [[4, 3, 40, 40]] * 2
    assert targets.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("shape", [(50, 61), (40, 40), (41, 300)])
@pytest.mark.parametrize("vertical", [None, False, True])
def test_corners_are_torchvisions(shape, vertical):
    image = np.random.default_rng(2).integers(0, 256, (*shape, 3), np.uint8)
    size = (40, 33)
    theirs = v2.FiveCrop(size) if vertical is None else v2.TenCrop(size, vertical_flip=vertical)
    ours = fa.FiveCrop(size) if vertical is None else fa.TenCrop(size, vertical)
    want = theirs(torch.from_numpy(image).permute(2, 0, 1))
    for augment in ([ours], fa.Views([[ours]]), [theirs], [v2.Compose([theirs, v2.ToImage()])]):
        with fa.loader((image[None], np.zeros(1, int)), 1, augment=augment, dtype=torch.uint8) as loader:
            got = next(iter(loader))[0]
        assert len(got) == len(want) == (5 if vertical is None else 10)
        assert all(torch.equal(a[0], b) for a, b in zip(got, want, strict=True))


def test_corners_have_to_fit():
    small = np.zeros((3, 30, 60, 3), np.uint8), np.arange(3)
    with pytest.raises(ValueError, match="CornerCrop 40x40 is bigger than 1 of the images"):
        fa.loader(small, 1, augment=[fa.FiveCrop(40)])
    with pytest.raises(ValueError, match="keep one of them"):
        fa.loader(small, 1, augment=[fa.FiveCrop(20), fa.TenCrop(20)])


def test_merge():
    outputs = [torch.randn(4, 7) for _ in range(3)]
    assert torch.allclose(fa.merge(outputs), torch.stack(outputs).mean(0))
    assert torch.allclose(fa.merge(torch.cat(outputs), 3), torch.stack(outputs).mean(0))
    assert torch.allclose(fa.merge(outputs, mode="max"), torch.stack(outputs).amax(0))
    wanted = torch.stack([o.softmax(1) for o in outputs]).mean(0)
    assert torch.allclose(fa.merge(outputs, 3, mode="probabilities"), wanted)
    for given, kwargs in (
        (torch.zeros(7, 2), {"views": 3}),
        (torch.zeros(6, 2), {}),
        (outputs, {"views": 2}),
        ([outputs[0], outputs[1][:2]], {}),
        ([], {}),
        ("ab", {}),
        (outputs, {"mode": "median"}),
    ):
        with pytest.raises((TypeError, ValueError)):
            fa.merge(given, **kwargs)


LIST = v2.Compose([v2.RandomResizedCrop(32), v2.RandomHorizontalFlip(), v2.ToTensor()])
OTHER = v2.Compose([v2.RandomResizedCrop(16), v2.ToTensor()])


class Twice:
    """As MoCo's code has it."""

    def __init__(self, base):
        self.base_transform = base

    def __call__(self, x):
        q = self.base_transform(x)
        k = self.base_transform(x)
        return [q, k]


class MultiCrop:
    """As DINO's code has it."""

    def __init__(self):
        self.first, self.second, self.local, self.count = LIST, LIST, OTHER, 3

    def __call__(self, image):
        crops = [self.first(image), self.second(image)]
        for _ in range(self.count):
            crops.append(self.local(image))
        return crops


class Listed(list):
    def __call__(self, image):
        return [transform(image) for transform in self]


class Modules(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.parts = torch.nn.ModuleList([LIST, OTHER])

    def forward(self, image):
        return tuple(part(image) for part in self.parts)


class Named:
    def __init__(self):
        self.of = {"large": LIST, "small": OTHER}

    def __call__(self, image):
        return list(map(lambda name: self.of[name](image), ("small", "large")))  # noqa: C417


@pytest.mark.parametrize(
    ("given", "sides"),
    [
        (Twice(LIST), [32, 32]),
        (MultiCrop(), [32, 32, 16, 16, 16]),
        (Listed([OTHER, LIST]), [16, 32]),
        (Modules(), [32, 16]),
        (Named(), [16, 32]),
    ],
)
def test_callables_that_are_lists_of_transforms(given, sides, photos):
    read = fa.from_torchvision(given).augment
    assert isinstance(read, fa.Views)
    assert [ops[0].size[0] for ops in read.lists] == sides
    from torchvision.datasets import ImageFolder

    with fa.loader(ImageFolder(photos, given), 4, seed=1) as loader:  # its own transform
        assert [view.shape[-1] for view in next(iter(loader))[0]] == sides


class Own(Called):
    def __init__(self, transform):
        super().__init__()
        self.transform = transform

    def __getitem__(self, i):
        image, label = super().__getitem__(i)
        return self.transform(image), label


@pytest.mark.parametrize("workers", [0, 2])
def test_a_called_data_sets_own_list_of_transforms(workers):
    with fa.loader(Own(MultiCrop()), 4, seed=1, num_workers=workers) as loader:
        assert "2 x [B, 3, 32, 32], 3 x [B, 3, 16, 16]" in repr(loader)
        images, labels = next(iter(loader))
    assert [view.shape[-1] for view in images] == [32, 32, 16, 16, 16]
    assert labels.tolist() == [0, 1, 2, 3]
    with fa.loader(Own(MultiCrop()), 4, augment=fa.Views([LARGE] * 2), num_workers=workers) as loader:
        assert [view.shape[-1] for view in next(iter(loader))[0]] == [40, 40]


class Alters(Own):
    def __getitem__(self, i):
        made, label = super().__getitem__(i)
        return [made[0] + 1, *made[1:]] if isinstance(made, list) else made, label


class Unpacks(Own):
    def __getitem__(self, i):
        (first, *others), label = super().__getitem__(i)
        return [first, *others], label


def test_views_that_a_data_set_changes_are_refused():
    with pytest.raises(TypeError, match="Alters gives several images of each, and its transform cannot"):
        fa.loader(Alters(MultiCrop()), 4)
    with pytest.raises(TypeError, match="nothing is an image"):
        fa.loader(Unpacks(MultiCrop()), 4)
    with pytest.raises(TypeError, match="nothing is an image"):
        fa.loader(Own(lambda image: [image, image]), 4)


class Draws(Twice):
    def __call__(self, x):
        return [self.base_transform(x) for _ in range(random.randint(1, 3))]


class Changes(Twice):
    def __call__(self, x):
        return [self.base_transform(x.convert("L"))]


class Stacks(Twice):
    def __call__(self, x):
        return torch.stack([self.base_transform(x), self.base_transform(x)])


class Drops(Twice):
    def __call__(self, x):
        return [self.base_transform(x), self.base_transform(x)][:1]


class Repeats(Twice):
    def __call__(self, x):
        return [self.base_transform(x)] * 2


class Adds(Twice):
    def __call__(self, x):
        return [self.base_transform(x), x]


@pytest.mark.parametrize("kind", [Draws, Changes, Stacks, Drops, Repeats, Adds])
def test_callables_that_do_more_are_refused(kind):
    before = random.getstate()
    given = kind(LIST)
    with pytest.raises(ValueError, match="it is not one of torchvision's transforms"):
        fa.from_torchvision(given)
    assert given.base_transform is LIST  # as it was
    assert random.getstate() == before


def test_what_views_must_be(photos):
    for wrong, error, why in (
        ([], TypeError, "one for each view"),
        (LARGE, TypeError, "view 0 must be a list"),
        (["dino"], TypeError, "view 0 must be a list of augmentations"),
        ([fa.Views([LARGE])], TypeError, "view 0 must be a list"),
        ([LARGE] * 257, ValueError, "at most 256"),
    ):
        with pytest.raises(error, match=why):
            fa.Views(wrong)
    with pytest.raises(ValueError, match="view 1 ends with None, and view 0 with Normalize"):
        fa.loader(photos, 4, augment=fa.Views([LARGE, LARGE[:-1]]))
    with pytest.raises(TypeError, match=r"view 1: .*must be an augmentation"):
        fa.loader(photos, 4, augment=fa.Views([LARGE, ["RandomCrop"]]))
    with pytest.raises(ValueError, match="say other dtypes"):
        fa.loader(photos, 4, augment=fa.Views([[OTHER], [v2.RandomResizedCrop(8), v2.PILToTensor()]]))
    with pytest.raises(TypeError, match="replay takes a BatchPlan or ViewsPlan"):
        fa.loader(photos, 4, augment=fa.Views([LARGE])).replay([])


@pytest.mark.parametrize("name", VIEWS)
def test_recipes_of_views(name, photos):
    """The papers' sizes, in order; each can be drawn and carried out at other sizes too."""
    wanted = {
        "swav": [224] * 2 + [96] * 6,
        "dino": [224] * 2 + [96] * 8,
        "dinov2": [224] * 2 + [96] * 8,
        "repeated-augmentation": [224] * 3,
    }
    made = views(name)
    assert [ops[0].size[0] for ops in made.lists] == wanted.get(name, [224, 224])
    assert all(isinstance(ops[-1], fa.Normalize) for ops in made.lists)
    with fa.loader(photos, 4, augment=views(name, 56), seed=1) as loader:
        assert next(iter(loader))[0][0].shape[-1] == 56
    assert augmentations(name, None).augment == made
    with pytest.raises(ValueError, match=f"in recipes.views .*{name}"):
        recipe(name)
    with pytest.raises(ValueError, match="there are no views 'imagenet'"):
        views("imagenet")


def test_the_papers_numbers():
    """Where recipes differ from one another: what their authors' code has."""
    scale = {name: [ops[0].scale for ops in views(name).lists] for name in VIEWS}
    assert scale["simclr"] == scale["byol"] == scale["moco-v3"] == [(0.08, 1)] * 2
    assert scale["moco-v2"] == [(0.2, 1)] * 2
    assert scale["swav"] == [(0.14, 1)] * 2 + [(0.05, 0.14)] * 6
    assert scale["dino"] == [(0.4, 1)] * 2 + [(0.05, 0.4)] * 8
    assert scale["dinov2"] == [(0.32, 1)] * 2 + [(0.05, 0.32)] * 8

    def blur(name: str) -> list[tuple[int, float]]:
        found = [op for ops in views(name).lists for op in ops if isinstance(op, fa.GaussianBlur)]
        return [(op.kernel_size, op.p) for op in found]  # type: ignore[misc]

    for name in ("moco-v3", "byol"):
        assert blur(name) == [(23, 1.0), (23, 0.1)]
    assert blur("dinov2") == [(9, 1.0), (9, 0.1)] + [(9, 0.5)] * 8
    assert blur("simclr") == [(23, 0.5)] * 2
    jitter = {name: views(name).lists[0][2] for name in VIEWS[:-1]}
    assert jitter["simclr"] == jitter["swav"] == fa.ColorJitter(0.8, 0.8, 0.8, 0.2, p=0.8)
    assert jitter["moco-v2"] == fa.ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8)
    assert jitter["byol"] == jitter["dino"] == jitter["dinov2"] == fa.ColorJitter(0.4, 0.4, 0.2, 0.1, p=0.8)
