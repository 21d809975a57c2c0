"""Flags, YAML, recipes with overrides, and what the advice fills in."""

from __future__ import annotations

import pytest

import fastaug
from fastaug.train.config import Config, parse, read_config
from fastaug.train.settings import read_augmentation, resolve, without_mixing


def test_flags_have_their_usual_names():
    config = parse(
        [
            "photos",
            "--model",
            "resnet18",
            "--epochs",
            "3",
            "--batch-size",
            "8",
            "--size",
            "64",
            "--recipe",
            "gridmask",
            "--optimizer",
            "adamw",
            "--schedule",
            "polynomial",
            "--lr",
            "0.5",
            "--weight-decay",
            "0.01",
            "--label-smoothing",
            "0.1",
            "--pretrained",
            "w.pt",
            "--device",
            "cpu",
            "--output",
            "out",
            "--scale",
            "0.2",
            "1",
            "--no-norm-decay",
            "--channels-last",
            "--amp",
            "bfloat16",
            "--ema",
            "0.99",
            "--accumulate",
            "2",
            "--clip-grad",
            "1",
        ]
    )
    assert config == Config(
        data=["photos"],
        model="resnet18",
        epochs=3,
        batch_size=8,
        size=64,
        recipe="gridmask",
        optimizer="adamw",
        schedule="polynomial",
        lr=0.5,
        weight_decay=0.01,
        label_smoothing=0.1,
        pretrained="w.pt",
        device="cpu",
        output="out",
        scale=(0.2, 1.0),
        norm_decay=False,
        channels_last=True,
        amp="bfloat16",
        ema=0.99,
        accumulate=2,
        clip_grad=1.0,
    )
    assert parse(["a", "b"]).data == ["a", "b"]


def test_a_saved_config_runs_again_and_flags_win(tmp_path):
    config = Config(
        data=["photos"],
        recipe="cutout",
        override=["Cutout.length=9"],
        scale=(0.2, 1.0),
        lr=0.3,
        norm_decay=False,
    )
    config.save(tmp_path)
    file = str(tmp_path / "config.yaml")
    assert parse(["--config", file]) == config == read_config(file)
    assert parse(["--config", file, "--lr", "0.1", "other"]).lr == 0.1
    assert parse(["--config", file, "other"]).data == ["other"]


def test_what_a_message_says_takes_a_value_out_of_a_configuration(tmp_path):
    Config(data=["x"], schedule="exponential", gamma=0.5, recipe="cutmix", override=["CutMix.p=1"]).save(
        tmp_path
    )
    file = str(tmp_path / "config.yaml")
    assert parse(["--config", file, "--schedule", "cosine", "--gamma", "null"]).gamma is None
    flags = ["--augment", "Normalize()", "--recipe", "standard", "--override"]
    assert parse(["--config", file, "--gamma", "0.1", *flags]).override == []


def test_resume_starts_from_the_runs_settings(tmp_path):
    Config(data=["photos"], epochs=7, output=str(tmp_path)).save(tmp_path)
    config = parse(["--resume", str(tmp_path), "--epochs", "9"])
    assert (config.data, config.epochs, config.output) == (["photos"], 9, str(tmp_path))
    (tmp_path / "moved").mkdir()
    config.save(tmp_path / "moved")
    assert parse(["--resume", str(tmp_path / "moved")]).output == str(tmp_path / "moved")
    assert parse(["--resume", str(tmp_path / "moved"), "--output", "third"]).output == "third"
    assert parse(["--resume", str(tmp_path / "last.pt")]).epochs == 7
    assert parse(["--resume", "auto", "--output", str(tmp_path)]).epochs == 7
    assert parse(["--resume", "auto", "--output", str(tmp_path / "new"), "x"]).epochs == 120


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], ["DATA", "[]"]),
        (["a", "b", "c"], ["DATA", "two folders"]),
        (["x", "--epochs", "0"], ["--epochs", "at least 1", "0"]),
        (["x", "--batch-size", "-3"], ["--batch-size", "-3"]),
        (["x", "--lr", "0"], ["--lr", "above 0"]),
        (["x", "--label-smoothing", "1"], ["--label-smoothing", "1"]),
        (["x", "--recipe", "mixdown"], ["--recipe", "mixdown", "mixup"]),
        (["x", "--warmup-epochs", "5", "--epochs", "2"], ["--warmup-epochs", "at most 2"]),
        (["x", "--augment", "Normalize()", "--scale", "0.2", "1"], ["--augment", "--scale", "null"]),
        (["x", "--augment", "Normalize()", "--mean", "0", "0", "0"], ["--augment", "--mean"]),
        (["x", "--augment", "Normalize()", "--recipe", "cutmix"], ["--augment", "--recipe standard"]),
        (
            ["x", "--augment", "Normalize()", "--override", "GridMask.p=1"],
            ["--augment", "--override with nothing"],
        ),
        (["x", "--gamma", "0.5"], ["--gamma 0.5", "piecewise or exponential", "cosine", "--gamma null"]),
        (["x", "--step-epochs", "2", "--schedule", "exponential"], ["--step-epochs", "piecewise"]),
        (["x", "--power", "1"], ["--power", "polynomial"]),
        (["x", "--momentum", "0.9", "--optimizer", "adam"], ["--momentum", "sgd or rmsprop", "adam"]),
    ],
)
def test_values_out_of_range_are_named(flags, words):
    with pytest.raises(ValueError, match=r".") as error:
        parse(flags)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    "flags", [["x", "--optimizer", "adamax"], ["x", "--epochs", "many"], ["x", "--speed", "9"]]
)
def test_unknown_flags_and_types_end_with_a_message(flags, capsys):
    with pytest.raises(SystemExit):
        parse(flags)
    assert flags[-2].strip("-") in capsys.readouterr().err


@pytest.mark.parametrize("name", fastaug.recipes.NAMES[2:])
def test_recipes_print_what_they_set(name):
    settings = resolve(Config(data=["x"], recipe=name, size=64, epochs=10), images=1000)
    text = str(settings)
    for item in settings.augment:
        assert str(item) in text
    assert f"recipe {name}" in text
    assert settings.augment == fastaug.recipes.recipe(name, 64, 10)


def test_every_value_of_a_recipe_can_be_overridden():
    config = parse(
        [
            "x",
            "--recipe",
            "gridmask",
            "--override",
            "GridMask.p=0.25",
            "GridMask.d=(10, 20)",
            "RandomHorizontalFlip.p=0",
            "--scale",
            "0.3",
            "0.9",
            "--ratio",
            "0.9",
            "1.1",
        ]
    )
    crop, flip, grid, _ = resolve(config, images=1000).augment
    assert (crop.scale, crop.ratio, flip.p, grid.p, grid.d) == ((0.3, 0.9), (0.9, 1.1), 0, 0.25, (10, 20))
    assert grid.mode == 0


@pytest.mark.parametrize(
    "override", ["CutMix.alpha=1", "GridMask.width=1", "GridMask.p=x", "GridMask.p", "p=3"]
)
def test_an_override_that_fits_nothing_is_named(override):
    with pytest.raises((ValueError, TypeError), match=override.partition(".")[0]):
        resolve(Config(data=["x"], recipe="gridmask", override=[override]), images=1000)


def test_a_whole_list_can_be_given_as_python_writes_it():
    texts = [
        "RandomResizedCrop(32, scale=(0.5, 1))",
        "RandAugment(2, 9)",
        "OneOf([MixUp(0.2), CutMix(1.0)], weights=[1, 3])",
        "Normalize()",
    ]
    config = parse(["x", "--size", "32", "--augment", *texts])
    assert resolve(config, images=1000).augment == [
        fastaug.RandomResizedCrop(32, scale=(0.5, 1)),
        fastaug.RandAugment(2, 9),
        fastaug.OneOf([fastaug.MixUp(0.2), fastaug.CutMix(1.0)], weights=[1, 3]),
        fastaug.Normalize(),
    ]


def test_test_images_are_made_as_the_given_list_makes_them():
    """Normalised alike, and of the same size."""
    crop, normalize = "RandomResizedCrop(32)", "Normalize((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))"
    settings = resolve(Config(data=["x"], size=32, augment=[crop, normalize]), images=1000)
    assert (settings.mean, settings.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    settings = resolve(Config(data=["x"], size=32, augment=[crop]), images=1000)
    assert (settings.mean, settings.std) == ((0, 0, 0), (1, 1, 1))
    for other in (crop, "CenterCrop(32)", "Resize((32, 64))"):
        with pytest.raises(ValueError, match=r"--augment makes images of 32 x .* --size tests with 64 x 64"):
            resolve(Config(data=["x"], size=64, augment=[other]), images=1000)


@pytest.mark.parametrize(
    "text", ["__import__('os').system('x')", "Blur()", "GridMask(p=", "GridMask(p=9)", "os.sep"]
)
def test_nothing_but_augmentations_is_built(text):
    with pytest.raises(ValueError, match="--augment holds"):
        read_augmentation(text)


def test_accuracy_on_training_images_is_without_mixing():
    mixing = [fastaug.MixUp(0.2), fastaug.OneOf([fastaug.MixUp(0.2), fastaug.CutMix(1.0)])]
    others = [fastaug.RandomResizedCrop(32), fastaug.OneOf([fastaug.Cutout(8), fastaug.HideAndSeek()])]
    for item in mixing:
        assert without_mixing([*others, item, fastaug.Normalize()]) == [*others, fastaug.Normalize()]


@pytest.mark.parametrize(
    ("options", "name", "value"),
    [
        ({}, "weight_decay", 1e-4),
        ({"model": "MobileNetV1_x0_25"}, "weight_decay", 3e-5),
        ({"recipe": "randaugment"}, "weight_decay", 7e-5),
        ({"optimizer": "adamw"}, "weight_decay", 0.05),
        ({"weight_decay": 0.5}, "weight_decay", 0.5),
        ({}, "label_smoothing", 0),
        ({"model": "ResNet50_vd"}, "label_smoothing", 0.1),
        ({"model": "ResNet18"}, "label_smoothing", 0),
        ({"pretrained": "w.pt"}, "freeze_bn", True),
        ({}, "freeze_bn", False),
        ({"optimizer": "adadelta", "batch_size": 512}, "lr", 1.0),
    ],
)
def test_the_advices_choices(options, name, value):
    assert getattr(resolve(Config(data=["x"], **options), images=1000), name) == value


def test_small_networks_get_larger_crops():
    config = Config(data=["x"], model="MobileNetV2_x0_25")
    assert resolve(config, images=1000).augment[0].scale == (0.2, 1.0)
    assert resolve(Config(data=["x"]), images=1000).augment[0].scale == (0.08, 1.0)
