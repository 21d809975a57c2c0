"""targets="mask": label maps go where their images go, whatever they are and wherever they come from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import fastaug as fa

GEOMETRY = [fa.RandomResizedCrop((24, 20), (0.3, 1), interpolation="nearest"), fa.RandomHorizontalFlip()]


def coded(h: int, w: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """An image whose first colour is its label map: what is done to one can be read off the other."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(1, 200, (h, w), np.uint8)
    return np.stack([labels, *rng.integers(0, 256, (2, h, w), np.uint8)], 2), labels


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> list[tuple[str, str]]:
    folder, out = tmp_path_factory.mktemp("pairs"), []
    for k in range(9):
        image, labels = coded(40 + 3 * k, 60 - 2 * k, k)
        names = folder / f"{k}.png", folder / f"{k}-map.png"
        Image.fromarray(image).save(names[0])
        held = Image.fromarray(labels)
        if k % 3 == 1:
            held.putpalette(bytes(range(256)) * 3)
        elif k % 3 == 2:
            held = Image.fromarray(labels.astype(np.uint16))
        held.save(names[1])
        out.append((str(names[0]), str(names[1])))
    return out


def agree(images: torch.Tensor, maps: torch.Tensor) -> None:
    assert maps.dtype == torch.int64
    assert images.shape[-2:] == maps.shape[-2:]
    assert torch.equal(images[:, 0].long(), maps)


class Called(torch.utils.data.Dataset):
    def __init__(self, pairs, how):
        self.pairs, self.how = pairs, how

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, k):
        image, held = map(Image.open, self.pairs[k])
        return image.convert("RGB"), self.how(held)


HOW = {
    "PIL": lambda held: held,
    "array": np.asarray,
    "tensor": lambda held: torch.from_numpy(np.asarray(held).astype(np.int32))[None],
}


@pytest.mark.parametrize("augment", [GEOMETRY, [*GEOMETRY, fa.RandomInvert(0.0)]])
def test_files(pairs, augment):
    with fa.loader(pairs, 4, True, augment=augment, dtype=torch.uint8, targets="mask", seed=2) as loader:
        assert "label maps, int64 [B, H, W]" in repr(loader)
        for images, maps in loader:
            agree(images, maps)


def test_bytes_and_views(pairs):
    data = [tuple(Path(name).read_bytes() for name in pair) for pair in pairs]
    views = fa.Views([GEOMETRY, [fa.Resize((9, 12), "nearest")]])
    with fa.loader(data, 4, augment=views, dtype=torch.uint8, targets="mask", with_plan=True) as loader:
        images, maps, plan = next(iter(loader))
        again, same, _ = loader.replay(plan)
    assert len(images) == len(maps) == 2
    for one, other, two, three in zip(images, maps, again, same, strict=True):
        agree(one, other)
        assert torch.equal(one, two)
        assert torch.equal(other, three)


@pytest.mark.parametrize("padding", ["constant", "edge", "reflect"])
def test_arrays_with_padding(padding):
    both = [coded(30, 33, k) for k in range(6)]
    data = np.stack([image for image, _ in both]), np.stack([labels for _, labels in both])
    augment = [fa.RandomCrop(32, 5, padding_mode=padding), fa.RandomVerticalFlip()]
    with fa.loader(data, 6, augment=augment, dtype=torch.uint8, targets="mask") as loader:
        agree(*next(iter(loader)))


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("workers", [0, 2])
def test_called_data_sets(pairs, how, workers):
    options = {"num_workers": workers, "dtype": torch.uint8, "targets": "mask", "augment": GEOMETRY}
    with fa.loader(Called(pairs, HOW[how]), 4, **options) as loader:
        for images, maps in loader:
            agree(images, maps)


def test_the_same_as_augment(pairs):
    """One geometry for both roads: keyed alike, Augment's are the loader's."""
    data = [(np.asarray(Image.open(a)), np.asarray(Image.open(b)).astype(np.int64)) for a, b in pairs]
    made, maps = fa.Augment(GEOMETRY, dtype=torch.uint8, seed=4)(
        [image for image, _ in data], masks=[held for _, held in data], keys=np.arange(9)
    )
    with fa.loader(pairs, 9, augment=GEOMETRY, dtype=torch.uint8, targets="mask", seed=4) as loader:
        images, theirs = next(iter(loader))
    assert torch.equal(images, made)
    assert torch.equal(maps, theirs)


def test_turns_before_a_crop():
    image, labels = coded(64, 64, 0)
    augment = [fa.RandomRotation((90, 90)), fa.CenterCrop(40)]
    with fa.loader((image[None], labels[None]), 1, augment=augment, targets="mask") as loader:
        _, maps = next(iter(loader))
    assert (maps[0].numpy() == np.rot90(labels)[12:52, 12:52]).all()


@pytest.mark.parametrize("on_error", ["raise", "skip", "replace"])
def test_maps_that_cannot_be_read_are_bad_files(pairs, tmp_path, on_error):
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(tmp_path / "small.png")
    Image.open(pairs[2][0]).convert("RGB").save(tmp_path / "colour.png")
    (tmp_path / "cut.png").write_bytes(Path(pairs[3][1]).read_bytes()[:80])
    names = [str(tmp_path / f"{name}.png") for name in ("small", "colour", "cut", "none")]
    wrong = [*((a, b) for (a, _), b in zip(pairs[1:5], names, strict=True)), *pairs[5:]]
    options = {"augment": GEOMETRY, "dtype": torch.uint8, "targets": "mask", "max_bad": None}
    with fa.loader(wrong, 8, on_error=on_error, **options) as loader:
        if on_error == "raise":
            with pytest.raises(fa.DecodeError) as caught:
                next(iter(loader))
            said = str(caught.value)
        else:
            images, maps = next(iter(loader))
            assert len(maps) == (4 if on_error == "skip" else 8)
            agree(images, maps)
            said = str(loader.bad_files)
    for why in ("5x5 pixels", "mode RGB", "cut.png", "none.png"):
        assert why in said, said


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"augment": [*GEOMETRY, fa.MixUp(0.2)], "num_classes": 9}, "MixUp moves or mixes"),
        ({"augment": [*GEOMETRY, fa.RandomRotation(9)]}, "RandomRotation moves or mixes"),
        ({"label_smoothing": 0.1, "num_classes": 9}, "label_smoothing is of class ids"),
        ({"targets": "masks"}, "targets must be"),
    ],
)
def test_what_cannot_be(pairs, change, why):
    with pytest.raises(ValueError, match=why):
        fa.loader(pairs, 4, **{"augment": GEOMETRY, "targets": "mask", **change})


def test_class_ids_are_no_maps(photos):
    with pytest.raises(ValueError, match="and these have none"):
        fa.loader(photos, 4, augment=GEOMETRY, targets="mask")
    with pytest.raises(ValueError, match="and these have none"):
        fa.loader((np.zeros((4, 40, 40, 3), np.uint8), np.arange(4)), 4, augment=GEOMETRY, targets="mask")
