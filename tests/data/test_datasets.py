from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DistributedSampler,
    SequentialSampler,
    Subset,
    WeightedRandomSampler,
    default_collate,
    random_split,
)
from torchvision import datasets as tv
from torchvision.datasets.folder import default_loader
from torchvision.transforms import v2

import fastaug as fa
from fastaug.data.datasets import as_listing, own_transforms

CROP = [fa.RandomResizedCrop(32)]
RNG = np.random.default_rng(0)


def made(kind, **held):
    """A torchvision data set with what its constructor leaves behind, without its files to download."""
    data = object.__new__(kind)
    data.__dict__.update(transform=None, target_transform=None, transforms=None, loader=default_loader)
    data.__dict__.update(held)
    return data


def files_of(photos, root: Path, names):
    """Photographs under other names."""
    for k, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(sorted(Path(photos).glob("*/*.jpg"))[3 * k], root / name)
    return [str(root / name) for name in names]


def torchvision_sets(photos, root: Path):
    files = files_of(photos, root, ["a/0.jpg", "a/1.jpg", "b/2.jpg"])
    labels, pairs = [0, 0, 1], list(zip(files, [0, 0, 1], strict=True))
    columns = dict(_image_files=[Path(f) for f in files], _labels=labels)
    pixels = RNG.integers(0, 256, (5, 32, 32, 3), np.uint8)
    turned, five = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)), np.array([0, 1, 2, 1, 0])
    files_of(photos, root, [f"101_ObjectCategories/{n}" for n in ("x/image_0001.jpg", "y/image_0001.jpg")])
    files_of(photos, root, [f"256_ObjectCategories/{n}" for n in ("x/001_0001.jpg", "y/002_0001.jpg")])
    caltech = dict(root=str(root), categories=["x", "y"], index=[1, 1], y=[0, 1])
    yield tv.ImageFolder(photos)
    yield tv.DatasetFolder(photos, default_loader, (".jpg",))
    for kind in (tv.ImageNet, tv.EuroSAT, tv.Country211):
        yield made(kind, samples=pairs, targets=labels, classes=[("tench", "Tinca"), "b"])
    for kind in (tv.Flowers102, tv.Food101, tv.DTD, tv.FGVCAircraft, tv.SUN397, tv.CLEVRClassification):
        yield made(kind, **columns)
    for kind in (tv.StanfordCars, tv.GTSRB, tv.Imagenette, tv.RenderedSST2):
        yield made(kind, _samples=pairs)
    yield made(tv.Places365, imgs=pairs, targets=labels)
    pets = dict(_images=[Path(f) for f in files], _labels=labels, _bin_labels=[1, 1, 0])
    yield made(tv.OxfordIIITPet, _target_types=["category"], **pets)
    yield made(tv.OxfordIIITPet, _target_types=["binary-category"], **pets)
    yield made(tv.LFWPeople, data=files, targets=labels, _loader=default_loader)
    yield made(tv.Caltech101, target_type=["category"], **caltech)
    yield made(tv.Caltech256, **caltech)
    yield made(
        tv.INaturalist,
        root=str(root),
        all_categories=["a", "b"],
        target_type=["full"],
        index=[(0, "0.jpg"), (0, "1.jpg"), (1, "2.jpg")],
    )
    yield made(tv.CIFAR10, data=pixels, targets=five.tolist(), classes=["a", "b", "c"])
    yield made(tv.CIFAR100, data=pixels, targets=five.tolist(), classes=["a", "b", "c"])
    yield made(tv.SVHN, data=turned, labels=five)
    yield made(tv.STL10, data=turned, labels=five)


def test_torchvision_sets_hold_what_their_getitem_gives(photos, tmp_path):
    """torchvision's own __getitem__ looks where fastaug does."""
    kinds = set()
    for data in torchvision_sets(photos, tmp_path):
        source = as_listing(data)
        assert len(source) == len(data), type(data)
        for i in range(min(len(source), 5)):
            image, label = data[i]
            held = source.arrays[i] if source.arrays is not None else default_loader(source.paths[i])
            assert (np.asarray(image) == np.asarray(held)).all(), type(data)
            assert label == source.labels[i], type(data)
        kinds.add(type(data).__name__)
    assert len(kinds) == 25


def test_torchvision_sets_that_cannot_be_read(photos, tmp_path):
    gray = dict(data=torch.zeros(3, 28, 28, dtype=torch.uint8), targets=torch.zeros(3))
    pets = dict(_images=[], _labels=[], _bin_labels=[])
    for data, error, words in [
        (made(tv.MNIST, **gray), TypeError, "MNIST holds gray images"),
        (made(tv.FashionMNIST, **gray), TypeError, "FashionMNIST holds gray"),
        (made(tv.USPS, **gray), TypeError, "gray"),
        (tv.FakeData(8), TypeError, "FakeData keeps its files in a way"),
        (made(tv.CelebA), TypeError, "CelebA keeps its files"),
        (made(tv.Food101), TypeError, "this torchvision keeps the files of Food101 elsewhere"),
        (
            made(tv.OxfordIIITPet, _target_types=["category", "segmentation"], **pets),
            ValueError,
            r"\['category', 'segmentation'\].*'binary-category'",
        ),
        (made(tv.Caltech101, target_type=["annotation"]), ValueError, "annotation"),
        (made(tv.INaturalist, target_type=["phylum"]), ValueError, "'full'"),
        (
            made(tv.STL10, data=np.zeros((2, 3, 8, 8), np.uint8), labels=np.array([-1, -1])),
            ValueError,
            "label -1",
        ),
    ]:
        with pytest.raises(error, match=words):
            as_listing(data)

    class WithPaths(tv.ImageFolder):
        def __getitem__(self, i):
            return (*super().__getitem__(i), self.samples[i][0])

    class Renamed(tv.ImageFolder):
        pass

    with pytest.raises(TypeError, match="WithPaths has a __getitem__ of its own"):
        as_listing(WithPaths(photos))
    assert len(as_listing(Renamed(photos))) == len(tv.ImageFolder(photos))

    class Changed(Subset):
        def __getitem__(self, i):
            return 0

        def __getitems__(self, indices):
            return [0 for _ in indices]

    with pytest.raises(TypeError, match="Changed has a __getitem__ of its own"):
        as_listing(Changed(tv.ImageFolder(photos), [0]))


# ---- Subset and ConcatDataset ----


def same_samples(data):
    """Whether a loader gives the sample that the data set's own indexing names, in every place."""
    folder = tv.ImageFolder
    whole = ConcatDataset([data]) if isinstance(data, folder) else data
    source = as_listing(data)
    assert len(source) == len(whole)
    for i in range(len(source)):
        image, label = whole[i]
        assert (np.asarray(image) == np.asarray(default_loader(source.paths[i]))).all()
        assert label == source.labels[i]


def test_subsets_and_concatenations_nest(photos):
    folder = tv.ImageFolder(photos)
    n = len(folder)
    first, second = random_split(folder, [n - 7, 7], torch.Generator().manual_seed(0))
    same_samples(second)
    same_samples(Subset(Subset(folder, range(2, 12)), [4, 0, 4, -1]))
    inner = ConcatDataset([second, Subset(folder, torch.tensor([5]))])
    same_samples(ConcatDataset([Subset(first, [3, 1]), inner]))
    with fa.loader(second, 3, augment=CROP, num_classes=n, label_smoothing=0.1) as loader:
        assert sum(len(x) for x, _ in loader) == 7
        assert loader.dataset is second


def test_subsets_of_arrays_and_bytes(photos):
    pixels = RNG.integers(0, 256, (9, 8, 8, 3), np.uint8)
    cifar = made(tv.CIFAR10, data=pixels, targets=list(range(9)), classes=list("abcdefghi"))
    both = ConcatDataset([Subset(cifar, [8, 1]), Subset(cifar, [2])])
    with fa.loader(both, 3, augment=[], dtype=torch.uint8) as loader:
        images, targets = next(iter(loader))
    assert (images.permute(0, 2, 3, 1).numpy() == pixels[[8, 1, 2]]).all()
    assert targets.tolist() == [8, 1, 2]
    samples = [(Path(p).read_bytes(), c) for p, c in tv.ImageFolder(photos).samples[:6]]
    source = as_listing(ConcatDataset([Subset(samples, [5, 0]), samples]))
    assert [source.blobs[i] for i in range(8)] == [samples[i][0] for i in (5, 0, 0, 1, 2, 3, 4, 5)]
    assert len(source.blobs) == 8


def test_wrong_subsets_and_concatenations(photos, tmp_path):
    folder = tv.ImageFolder(photos)
    pixels = np.zeros((4, 8, 8, 3), np.uint8)
    other = tmp_path / "other"
    files_of(photos, other, ["one/0.jpg", "two/1.jpg"])
    for data, error, words in [
        (Subset(folder, []), ValueError, "empty"),
        (Subset(folder, [10**6]), IndexError, "1000000.*numbered 0 to"),
        (ConcatDataset([folder, [3, 4]]), TypeError, "entry 0"),
        (
            ConcatDataset([folder, made(tv.CIFAR10, data=pixels, targets=[0] * 4, classes=folder.classes)]),
            ValueError,
            "part 1 holds files and part 2 uint8 arrays of 8x8 pixels; use a loader for each",
        ),
        (ConcatDataset([folder, tv.ImageFolder(other)]), ValueError, "same classes.*'one', 'two'"),
    ]:
        with pytest.raises(error, match=words):
            as_listing(data)


def test_transforms_of_parts(photos):
    one, same = v2.Compose([v2.Resize(40), v2.CenterCrop(32), v2.ToImage()]), v2.CenterCrop(32)
    equal = v2.Compose([v2.Resize(40), v2.Compose([same]), v2.ToImage()])
    parts = [Subset(tv.ImageFolder(photos, t), [0, 1]) for t in (one, equal)]
    names = [name for name, _ in own_transforms(ConcatDataset(parts))]
    assert names == ["part 1 (ImageFolder)", "part 2 (ImageFolder)"]
    with fa.loader(ConcatDataset(parts), 4) as loader:
        assert next(iter(loader))[0].dtype == torch.uint8
    for wrong in (None, v2.Compose([v2.Resize(41), same, v2.ToImage()])):
        parts[1] = tv.ImageFolder(photos, wrong)
        with pytest.raises(ValueError, match=r"part 1 \(ImageFolder\) and part 2 \(Im.* different"):
            fa.loader(ConcatDataset(parts), 4, source="files")
        fa.loader(ConcatDataset(parts), 4, augment=CROP).close()


def test_transform_and_target_transform(photos):
    folder = tv.ImageFolder(photos, transform=v2.CenterCrop(16), target_transform=lambda c: 7 - c)
    assert type(folder.transforms).__name__ == "StandardTransform"
    with fa.loader(folder, 4) as loader:
        images, targets = next(iter(loader))
    assert (images.shape, images.dtype) == ((4, 3, 16, 16), torch.float32)
    assert targets.tolist() == [7] * 4


def test_target_transform(photos):
    calls = []
    folder = tv.ImageFolder(photos, target_transform=lambda c: calls.append(c) or torch.tensor(c % 2))
    with fa.loader(Subset(folder, [0, 20, 39]), 3, augment=CROP) as loader:
        assert loader.classes is None
        want = [folder.targets[i] % 2 for i in (0, 20, 39)]
        for _ in range(2):
            assert next(iter(loader))[1].tolist() == want
    assert len(calls) == len(folder)
    for transform, error, words in [
        (lambda c: c - 1, ValueError, "sample 0 has label -1"),
    ]:
        with pytest.raises(error, match=words):
            as_listing(tv.ImageFolder(photos, target_transform=transform))
    for transform in (lambda c: c / 2, lambda c: torch.nn.functional.one_hot(torch.tensor(c), 8)):
        folder = tv.ImageFolder(photos, target_transform=transform)
        with fa.loader(Subset(folder, [0, 20, 39]), 3, augment=CROP) as loader:
            want = default_collate([transform(folder.targets[i]) for i in (0, 20, 39)])
            assert torch.equal(next(iter(loader))[1], want)


# ---- Hugging Face ----


@pytest.fixture(scope="module")
def hugging(photos, tmp_path_factory):
    """The photographs as a Hugging Face data set on disk, bytes inside."""
    hf = pytest.importorskip("datasets")
    folder = tv.ImageFolder(photos)
    columns = {
        "image": [{"bytes": Path(p).read_bytes(), "path": None} for p, _ in folder.samples],
        "label": folder.targets,
    }
    features = hf.Features(image=hf.Image(), label=hf.ClassLabel(names=folder.classes))
    root = tmp_path_factory.mktemp("hugging") / "set"
    hf.Dataset.from_dict(columns, features).save_to_disk(root)
    return hf.load_from_disk(root)


def test_hugging_face_gives_the_same_batches(photos, hugging):
    hf = pytest.importorskip("datasets")
    folder = tv.ImageFolder(photos)
    paths = hf.Dataset.from_dict({"photo": [p for p, _ in folder.samples], "kind": folder.targets})
    paths = paths.cast_column("photo", hf.Image())
    options = dict(batch_size=9, shuffle=True, augment=CROP, seed=3)
    with fa.loader(folder, **options) as loader:
        images, targets = next(iter(loader))
    for data in (hugging, hugging.with_format("torch"), paths):
        source = as_listing(data)
        assert (source.paths is not None) == (data is paths)
        assert source.classes == (None if data is paths else folder.classes)
        with fa.loader(data, **options) as loader:
            again, again_targets = next(iter(loader))
        assert torch.equal(again, images)
        assert torch.equal(again_targets, targets)
    shuffled = hugging.shuffle(seed=1)
    source = as_listing(shuffled)
    order = [folder.samples[i] for i in hugging.add_column("n", range(len(hugging))).shuffle(seed=1)["n"]]
    assert [source.blobs[k] for k in (0, 7)] == [Path(order[k][0]).read_bytes() for k in (0, 7)]
    assert source.labels.tolist() == [label for _, label in order]


def test_hugging_face_rows_with_bytes_and_rows_with_paths(photos, tmp_path):
    hf = pytest.importorskip("datasets")
    files = [p for p, _ in tv.ImageFolder(photos).samples[:3]]
    rows = [
        {"bytes": None, "path": files[0]},
        {"bytes": Path(files[1]).read_bytes(), "path": None},
        {"bytes": None, "path": str(tmp_path / "gone.jpg")},
    ]
    data = hf.Dataset.from_dict(
        {"image": rows, "label": [0, 1, 2]}, hf.Features(image=hf.Image(), label=hf.Value("int64"))
    )
    with fa.loader(data, 3, augment=CROP, on_error="skip") as loader:
        assert [t.tolist() for _, t in loader] == [[0, 1]]
        assert list(loader.bad_files) == ["sample 2 (in memory)"]


def test_hugging_face_sets_that_are_refused(hugging):
    hf = pytest.importorskip("datasets")
    plain = hugging.remove_columns("label")
    two = hugging.add_column("coarse", [0] * len(hugging)).cast_column("coarse", hf.ClassLabel(names=["a"]))
    for data, error, words in [
        (hugging.with_transform(lambda batch: batch), TypeError, "set_transform or with_transform"),
        (hugging.to_iterable_dataset(), TypeError, "IterableDataset has no numbers.*streaming"),
        (hf.DatasetDict(train=hugging), TypeError, r"splits 'train'; give one of .*dataset\['train'\]"),
        (plain, TypeError, r"ClassLabel or whole-number column.*'image' \(Image\)"),
        (plain.add_column("label", ["cat"] * len(plain)), TypeError, "class_encode_column"),
        (hugging.remove_columns("image"), TypeError, "an Image column"),
        (two, TypeError, "the label could be in 'label' or 'coarse'.*select_columns"),
        (plain.add_column("a", [0] * len(plain)).add_column("b", [0] * len(plain)), TypeError, "'a' or 'b'"),
        (plain.add_column("label", [0] * (len(plain) - 1) + [None]), ValueError, "1 rows without a label"),
        (plain.add_column("label", [-1] * len(plain)), ValueError, "label -1"),
        (hugging.select([]), ValueError, "empty"),
    ]:
        with pytest.raises(error, match=words):
            as_listing(data)
    numbered = hugging.add_column("number", list(range(len(hugging))))
    with pytest.raises(TypeError, match="has 3 columns, image, label, number"):
        as_listing(numbered)
    assert as_listing(plain.add_column("n", [3] * len(plain))).labels.max() == 3


# ---- samplers ----


def indices(loader):
    """Sample numbers of each batch of an epoch."""
    return [plan["index"].tolist() for _, _, plan in loader]


def flat(lists):
    return [i for part in lists for i in part]


def test_a_weighted_sampler(photos):
    folder = tv.ImageFolder(photos)
    weights = [1.0 if label == 2 else 0.0 for label in folder.targets]
    sampler = WeightedRandomSampler(weights, 30, generator=torch.Generator().manual_seed(1))
    with fa.loader(folder, 8, sampler=sampler, augment=CROP, with_plan=True) as loader:
        batches = [(t, plan) for _, t, plan in loader]
    assert [len(t) for t, _ in batches] == [8, 8, 8, 6]
    assert all((t == 2).all() for t, _ in batches)
    assert max(int(plan["occurrence"].max()) for _, plan in batches) >= 30 // folder.targets.count(2)


def test_a_distributed_sampler_is_told_the_epoch(photos):
    folder = tv.ImageFolder(photos)
    seen = []
    for rank in range(2):
        sampler = DistributedSampler(folder, num_replicas=2, rank=rank, seed=4)
        options = dict(augment=CROP, with_plan=True, rank=rank, world_size=2, seed=0)
        with fa.loader(folder, 6, sampler=sampler, **options) as loader:
            for epoch in (0, 5):
                loader.set_epoch(epoch)
                got = flat(indices(loader))
                sampler.set_epoch(epoch)
                assert got == list(sampler)
                seen.append(got)
    assert seen[0] != seen[1]
    assert set(seen[0]) | set(seen[2]) == set(range(len(folder)))
    inner = DistributedSampler(folder, num_replicas=1, rank=0)
    whole = BatchSampler(inner, 16, drop_last=True)
    with fa.loader(folder, batch_sampler=whole, augment=CROP, with_plan=True) as loader:
        loader.set_epoch(3)
        assert flat(indices(loader)) == list(inner)[: 16 * (len(folder) // 16)]
        assert inner.epoch == 3


class Growing:
    """Batches of 1, 2, 4, ... 128 samples: more than the data set has, and without a batch_size."""

    def __init__(self, n):
        self.batches = [[(3 * k + i) % n for i in range(1 << k)] for k in range(8)]

    def __iter__(self):
        return iter(self.batches)

    def __len__(self):
        return len(self.batches)


class Lying(Growing):
    batch_size = 2


@pytest.mark.parametrize("kind", [Growing, Lying])
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_of_any_length(photos, kind, workers):
    folder = tv.ImageFolder(photos)
    batches = kind(len(folder))
    options = dict(augment=CROP, num_workers=workers, with_plan=True)
    with fa.loader(folder, batch_sampler=batches, **options) as loader:
        assert len(loader) == 8
        for _ in range(2):
            assert indices(loader) == batches.batches
    one = BatchSampler(SequentialSampler(folder), 50, drop_last=False)
    with fa.loader(folder, batch_sampler=one, **options) as loader:
        assert indices(loader) == [list(range(len(folder)))]
