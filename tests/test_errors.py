from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import fastaug as fa
from fastaug.tools.cli import main

from .test_loader import ours

CROP = fa.RandomResizedCrop(32)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: fa.RandomResizedCrop(32, scale=(1, 0.08)), ValueError, r"scale.*\(0.08, 1\)"),
        (lambda: fa.RandomResizedCrop(32, scale=(0.0, 1.0)), ValueError, "above 0"),
        (lambda: fa.RandomResizedCrop(32, scale=(0.5, 1.5)), ValueError, "1.5"),
        (lambda: fa.RandomResizedCrop("224"), TypeError, "'224'"),
        (lambda: fa.RandomResizedCrop(0), ValueError, "at least 1"),
        (lambda: fa.RandomResizedCrop(9000), ValueError, "at most 8192"),
        (lambda: fa.Resize(2.5), TypeError, "2.5"),
        (lambda: fa.RandomCrop(9, 2, fill=256), ValueError, "RandomCrop fill"),
        (lambda: fa.Pad(2, (0, -1, 0)), ValueError, "Pad fill"),
        (lambda: fa.Resize(9, "sinc"), ValueError, "'bicubic'"),
        (lambda: fa.RandomHorizontalFlip(1.5), ValueError, "1.5"),
        (lambda: fa.RandomHorizontalFlip("half"), TypeError, "'half'"),
        (lambda: fa.RandomHorizontalFlip(float("nan")), ValueError, "nan"),
        (lambda: fa.Cutout(16, p=-0.1), ValueError, "-0.1"),
        (lambda: fa.Cutout(16, n_holes=65), ValueError, "at most 64"),
        (lambda: fa.Cutout(16, fill=(1, 2)), ValueError, "three"),
        (lambda: fa.RandomErasing(value="noise"), ValueError, "'random'"),
        (lambda: fa.RandomErasing(aspect="square"), ValueError, "'linear'"),
        (lambda: fa.HideAndSeek(16), TypeError, "16"),
        (lambda: fa.GridMask(d=(96, 96)), ValueError, "96"),
        (lambda: fa.GridMask(ratio=1.0), ValueError, "below 1"),
        (lambda: fa.GridMask(mode=2), ValueError, "2"),
        (lambda: fa.GridMask(rotate=0), ValueError, "at least 1"),
        (lambda: fa.MixUp(0), ValueError, "above 0"),
        (lambda: fa.CutMix(-1.0), ValueError, "-1.0"),
        (lambda: fa.MixUp("0.2"), TypeError, "'0.2'"),
        (lambda: fa.MixUp(1.0, per="image"), ValueError, "'pair'"),
        (lambda: fa.OneOf([]), TypeError, "OneOf"),
        (lambda: fa.OneOf([fa.Cutout(3), fa.MixUp(1.0)]), ValueError, "all masks"),
        (lambda: fa.OneOf([fa.Cutout(3), fa.GridMask()], weights=(1,)), ValueError, "2 members"),
        (lambda: fa.OneOf([fa.Cutout(3)], per="batch"), ValueError, "'sample'"),
        (lambda: fa.Normalize(std=(1, 1, 0)), ValueError, "at least 1e-06"),
        (lambda: fa.recipes.recipe("imagnet"), ValueError, "imagenet-eval"),
    ],
)
def test_augmentations_refuse(make, error, words):
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        (dict(batch_size=0), ValueError, "batch_size must be at least 1.*0"),
        (dict(batch_size="64"), TypeError, "'64'"),
        (dict(num_workers=-1), ValueError, "-1"),
        (dict(seed=-1), ValueError, "-1"),
        (dict(label_smoothing=1.0), ValueError, "label_smoothing"),
        (dict(dtype=torch.int64), ValueError, "torch.int64"),
        (dict(memory_format="NHWC"), ValueError, "NHWC"),
        (dict(executor="cupy"), ValueError, "'kornia'"),
        (dict(decode="gpu"), ValueError, "'cpu'"),
        (dict(on_error="ignore"), ValueError, "'skip'"),
        (dict(rank=2, world_size=2), ValueError, "rank"),
        (dict(collate_fn=3), TypeError, "collate_fn"),
        (dict(workers="fibre"), ValueError, "'process', 'thread'"),
        (dict(source="disk"), ValueError, "'files', 'call'"),
        (dict(generator=3), TypeError, "torch.Generator, not 3"),
        (dict(channels=17), ValueError, "1 to 16"),
        (dict(batch=["a", "b", "c"]), ValueError, "2 names"),
        (dict(shuffle=True, sampler=[0]), ValueError, "shuffle"),
        (dict(batch_size=4, batch_sampler=[[0]]), ValueError, "batch_sampler"),
        (dict(prefetch_factor=0), ValueError, "prefetch_factor"),
        (dict(num_classes=2), ValueError, "out of range for num_classes=2"),
        (dict(batch_size=500, drop_last=True), ValueError, "leaves no batch"),
        (dict(augment="imagenett"), ValueError, "there is no recipe"),
        (dict(augment=CROP), TypeError, "list"),
        (dict(augment=[CROP, "flip"]), TypeError, r"augment\[1\] is 'flip'"),
        (dict(augment=[fa.Normalize(), CROP]), ValueError, r"augment\[1\].*too late"),
        (dict(augment=[CROP, fa.MixUp(1.0), fa.Cutout(3)]), ValueError, "too late"),
        (dict(augment=[CROP, fa.MixUp(1.0), fa.CutMix(1.0)]), ValueError, "OneOf"),
        (dict(augment=[fa.RandomRotation(5, fill=9), fa.Pad(3), CROP]), ValueError, "padded twice"),
        (dict(augment=[CROP, fa.Cutout(33)]), ValueError, "33 is bigger than the image"),
        (dict(augment=[CROP, fa.Cutout(3, n_holes=64), fa.RandomErasing()]), ValueError, "65 holes"),
        (dict(augment=[CROP, fa.GridMask(), fa.GridMask()]), ValueError, "GridMask twice"),
        (dict(augment=[fa.RandomCrop(1000)]), ValueError, "bigger than"),
        (dict(augment=[fa.Resize(64)]), ValueError, "different sizes"),
        (dict(augment=None), ValueError, "different sizes"),
        (dict(augment="standard", dtype=torch.uint8), ValueError, "Normalize"),
        (dict(augment=[CROP, fa.MixUp(1.0)], dtype=torch.uint8), ValueError, "MixUp"),
    ],
)
def test_the_loader_refuses_before_any_thread_starts(photos, options, error, words):
    before = ours()
    with pytest.raises(error, match=words):
        fa.loader(photos, **{"augment": [CROP], **options})
    assert ours() <= before


def test_folders(tmp_path, photos):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        fa.loader(str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="no class folders"):
        fa.loader(tmp_path)
    (tmp_path / "cat").mkdir()
    with pytest.raises(ValueError, match="'cat'"):
        fa.loader(tmp_path)
    (tmp_path / "cat" / "0.jpg").write_bytes(b"<html>no image</html>")
    with pytest.raises(ValueError, match="none of the 1 images can be read"):
        fa.loader(tmp_path, augment=[CROP])
    with pytest.raises(NotADirectoryError, match="one folder"):
        fa.loader(tmp_path / "cat" / "0.jpg")


def test_other_sources():
    pixels = np.zeros((3, 8, 8, 3), np.uint8)
    for data, error, words in [
        (17, TypeError, "accepted are a folder"),
        ([], ValueError, "empty"),
        ([3], TypeError, "a int 3, in which nothing is an image"),
        ([(3.5, 0)], TypeError, "a tuple of float, int, in which nothing is an image"),
        ([("a.jpg", "cat")], ValueError, "none of the 1 images can be read"),
        ([("a.jpg", -1)], ValueError, "label -1"),
        ((pixels.astype(np.int32), [0, 0, 0]), ValueError, "int32"),
        ((pixels, [0, 0]), ValueError, "3 images"),
        ((pixels[..., :2], [0, 0, 0]), ValueError, "channels"),
    ]:
        with pytest.raises(error, match=words):
            fa.loader(data, augment=[])
    for options in (dict(augment=[fa.MixUp(1.0)]), dict(augment=[], label_smoothing=0.1)):
        with pytest.raises(ValueError, match="num_classes"):
            fa.loader((pixels, [0, 1, 2]), **options)


def test_a_torchvision_transform_is_not_silently_dropped(photos):
    from torchvision.datasets import ImageFolder

    with pytest.raises(ValueError, match=r"print.*is not one of torchvision"):
        fa.loader(ImageFolder(photos, transform=print), source="files")
    with pytest.raises(TypeError, match="NoneType, int, in which nothing is an image"):
        fa.loader(ImageFolder(photos, transform=print))


def test_states_of_other_data_are_refused(photos):
    pixels = np.zeros((3, 8, 8, 3), np.uint8)
    with fa.loader((pixels, [0, 1, 2]), augment=[], seed=0) as loader:
        state = loader.state_dict()
        for key, value in (("samples", 4), ("seed", 9), ("version", 1)):
            with pytest.raises(ValueError, match=str(value)):
                loader.load_state_dict({**state, key: value})


def test_the_commands(photos, tmp_path, capsys):
    assert main(["inspect", photos]) == 0
    assert "0 unreadable files" in capsys.readouterr().out
    assert main(["inspect", str(tmp_path / "nowhere")]) == 2
    assert "does not exist" in capsys.readouterr().err
    sheet = tmp_path / "new" / "sheet.png"
    assert main(["preview", photos, "--augment", "cutout", "mixup", "--columns", "3", "-o", str(sheet)]) == 0
    assert Image.open(sheet).size[0] > 3 * 224
    assert main(["preview", photos, "--augment", "cutoff", "-o", str(sheet)]) == 2
    assert "there is no recipe 'cutoff'" in capsys.readouterr().err
    assert main(["doctor"]) == 0
    assert "CPU kernels: compiled" in capsys.readouterr().out


def test_inspect_names_unreadable_files(tmp_path, capsys):
    (tmp_path / "a").mkdir()
    Image.new("RGB", (20, 10)).save(tmp_path / "a" / "good.png")
    (tmp_path / "a" / "bad.jpg").write_bytes(b"")
    assert main(["inspect", str(tmp_path)]) == 1
    assert "bad.jpg" in capsys.readouterr().out


def test_without_compiled_kernels_kornia_serves(photos, monkeypatch):
    from fastaug import execute as batch
    from fastaug.execute import native
    from fastaug.tools import doctor

    for module in (batch, native, doctor):
        monkeypatch.setattr(module, "library", lambda: None)
    with fa.loader(photos, 4, augment=[CROP]) as loader:
        assert next(iter(loader))[0].shape == (4, 3, 32, 32)
    with pytest.raises(ImportError, match="executor='kornia'"):
        fa.loader(photos, 4, augment=[CROP], executor="native")
    assert any("The CPU kernels do not load" in line for line in doctor.report())


def test_numbers_of_numpy_and_torch_are_numbers(photos, tmp_path):
    """As arguments of the loader, augmentations and Decode; a state with them can be written as JSON."""
    import json

    i, f = np.int64, np.float32
    sides, scale = (i(24), np.uint8(20)), (f(0.5), torch.tensor(1.0))
    crop = fa.RandomResizedCrop(sides, scale=scale, ratio=np.array([1, 2.0]))
    assert crop == fa.RandomResizedCrop((24, 20), scale=(0.5, 1.0), ratio=(1.0, 2.0))
    assert "np." not in repr(crop)
    assert "tensor" not in repr(crop)
    normalize = fa.Normalize(torch.tensor([0.5, 0.25, 0.125]), np.array([0.5, 0.5, 1]))
    assert normalize == fa.Normalize((0.5, 0.25, 0.125), (0.5, 0.5, 1.0))
    assert fa.Cutout(torch.tensor(3), n_holes=i(2)) == fa.Cutout(3, n_holes=2)
    assert fa.Decode("cpu", threads=i(2)) == fa.Decode("cpu", threads=2)
    options = dict(augment=[crop], num_classes=i(9), rank=i(0), world_size=np.int32(1), prefetch_factor=i(2))
    options |= dict(label_smoothing=f(0.125), max_bad=np.float64(0.5), timeout=i(5), max_pixels=i(10**8))
    with fa.loader(photos, i(4), True, num_workers=torch.tensor(1), seed=np.uint64(7), **options) as loader:
        loader.set_epoch(i(3))
        next(iter(loader))
        assert type(loader.state_dict()["epoch"]) is int
        assert type(loader.batch_size) is type(loader.seed) is type(loader.num_workers) is int
        json.dumps(loader.state_dict())
    for bad in (np.bool_(True), np.array([1, 2]), np.float64(2.5), torch.tensor([1]), "2"):
        with pytest.raises((TypeError, ValueError), match="batch_size"):
            fa.loader(photos, bad)


@pytest.mark.parametrize("value", [1, 1.0, np.float64(1)])
def test_a_bound_that_is_left_out_is_said_so(photos, value):
    with pytest.raises(ValueError, match=r"label_smoothing must be at least 0 and below 1, not 1"):
        fa.loader(photos, 4, label_smoothing=value)
    if isinstance(value, float):
        with pytest.raises(ValueError, match=r"max_bad must be at least 0 and below 1, not 1"):
            fa.loader(photos, 4, on_error="skip", max_bad=value)


@pytest.mark.parametrize("std", [1e-45, 1e-7, 5e-324, 0])
def test_a_deviation_that_leaves_no_finite_pixel(std):
    with pytest.raises(ValueError, match="Normalize std must be at least 1e-06, not"):
        fa.Normalize(std=std)


def test_a_mean_of_bytes_is_asked_about():
    with pytest.raises(ValueError, match=r"above 1.*Divide mean and std by 255"):
        fa.Normalize((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))


def test_a_batch_larger_than_the_data_is_all_of_it(photos):
    with fa.loader(photos, 10**9, augment=[fa.Resize((8, 8))]) as loader:
        assert [len(x) for x, _ in loader] == [len(loader._pipeline.source)]
        assert len(loader) == 1
