"""Verdicts, and what to change."""

from __future__ import annotations

import json
import math

import pytest
from PIL import Image

from fastaug.tools.cli import main
from fastaug.train.advice import advise
from fastaug.train.config import Config
from fastaug.train.logs import Log, best, read_metrics
from fastaug.train.settings import resolve


def record(
    train: float, test: float, images: int = 50_000, epoch: int = 0, chance: float = 0.001, **others
) -> dict:
    return {
        "epoch": epoch,
        "train_accuracy": train,
        "test_accuracy": test,
        "train_images": images,
        "test_images": images,
        "train_chance": chance,
        "test_chance": chance,
        "top_lr": 0.3,
        "train_loss": 1.0,
        "check_loss": 1.0,
        "test_loss": 1.1,
        **others,
    }


def read(train: float, test: float, images: int = 50_000, **options):
    config = Config(data=["x"], **options)
    return advise([record(train, test, images)], resolve(config, images=1000), config)


# The advice's own figures: (network, train top-1, test top-1) and what they call for.
@pytest.mark.parametrize(
    ("train", "test", "verdict"),
    [
        (0.4379, 0.5041, "under-fitting"),  # MobileNetV1_x0_25, decay 1e-4
        (0.5036, 0.5235, "under-fitting"),  # MobileNetV2_x0_25, scale 0.08
        (0.5439, 0.5318, "fine"),  # the same, scale 0.2
        (0.7513, 0.7765, "under-fitting"),  # ResNet-50, RandAugment, decay 1e-4
        (0.99, 0.75, "over-fitting"),
        (0.78, 0.78, "fine"),
    ],
)
def test_verdicts(train, test, verdict):
    assert read(train, test).verdict == verdict


def test_differences_within_the_noise_of_a_small_test_set_are_fine():
    assert read(0.80, 0.88, images=50).verdict == "fine"
    assert read(0.88, 0.80, images=50).verdict == "fine"
    assert read(0.80, 0.88, images=5000).verdict == "under-fitting"


def verdict(*history: dict, **options):
    config = Config(data=["x"], **options)
    return advise(history, resolve(config, images=1000), config)


@pytest.mark.parametrize(
    ("train", "test", "images", "chance"),
    [
        (0.25, 0.25, 1000, 0.25),
        (0.26, 0.24, 1000, 0.25),
        (0.24, 0.26, 1000, 0.25),  # within the noise of 1,000 images
        (0.9, 0.9, 50_000, 0.9),  # nine in ten are of one class
        (0.1, 0.1, 50_000, 0.9),  # less than that
        (0.5, 0.3, 15, 1 / 3),
    ],
)
def test_accuracy_at_chance_is_nothing_learnt(train, test, images, chance):
    found = verdict(record(train, test, images, chance=chance))
    assert found.verdict == "nothing learnt"
    for word in ("--lr 0.03", "--lr 0.9", "now 0.3", "--epochs 240", "labels"):
        assert word in found.text()


@pytest.mark.parametrize(
    ("train", "test", "images", "chance", "expected"),
    [
        (0.3, 0.3, 1000, 0.25, "fine"),  # above the noise
        (0.99, 0.25, 1000, 0.25, "over-fitting"),  # learnt by heart
        (0.25, 0.5, 1000, 0.25, "under-fitting"),
        (0.27, 0.295, 1000, 0.25, "nothing learnt"),
    ],
)
def test_accuracy_above_chance_in_one_of_them(train, test, images, chance, expected):
    assert verdict(record(train, test, images, chance=chance)).verdict == expected


def test_a_long_tail_answered_by_its_largest_class_is_nothing_learnt():
    """40 % of the training images, but a tenth of the test images: no over-fitting."""
    found = verdict(record(0.4, 0.1, 5000, train_chance=0.4, test_chance=0.1))
    assert found.verdict == "nothing learnt"


@pytest.mark.parametrize("key", ["train_loss", "check_loss", "test_loss"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_never_fine(key, value):
    found = verdict(record(0.8, 0.8), record(0.8, 0.8, **{key: value}), amp="float16")
    assert found.verdict == "not finite"
    for word in ("--lr 0.1", "--clip-grad 1", "--warmup-epochs", "--amp bfloat16"):
        assert word in found.text()


@pytest.mark.parametrize(
    ("before", "train", "test", "images", "expected"),
    [
        (0.9, 0.5, 0.5, 1000, "worse than before"),
        (0.9, 0.001, 0.001, 1000, "worse than before"),
        (0.9, 0.4, 0.5, 1000, "worse than before"),
        (0.9, 0.99, 0.6, 1000, "over-fitting"),
        (0.9, 0.87, 0.87, 1000, "fine"),
        (0.9, 0.8, 0.8, 30, "fine"),  # within the noise
    ],
)
def test_accuracy_that_was_much_better_before_is_not_fine(before, train, test, images, expected):
    found = verdict(record(before, before, images), record(train, test, images))
    assert found.verdict == expected
    if expected == "worse than before":
        assert "best.pt" in found.text()


def test_the_best_epoch_has_a_finite_loss_and_is_the_last_of_equals():
    history = [record(0.5, 0.6, epoch=0), record(0.5, 0.6, epoch=1), record(0.5, 0.5, epoch=2)]
    assert best(history)["epoch"] == 1
    assert best([*history, record(0.9, 0.9, epoch=3, test_loss=math.nan)])["epoch"] == 1
    assert best([record(0.5, 0.5, test_loss=math.inf)]) is None


def test_metrics_are_json_also_where_a_loss_is_not_finite(tmp_path, capsys):
    log = Log(True)
    log.open(tmp_path, steps=2, done=0, epoch=0)
    history = [
        record(0.5, 0.5, epoch=0, test_top5=1.0, lr=0.1, images_per_s=1.0, data_wait=0.0, test_loss=math.inf),
        record(0.5, 0.5, epoch=1, test_top5=1.0, lr=0.1, images_per_s=1.0, data_wait=0.0, test_loss=math.nan),
    ]
    log.epoch(tmp_path, history)
    log.close()

    def refuse(constant: str):
        raise AssertionError(constant)

    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line, parse_constant=refuse)["test_loss"] for line in lines] == [None, None]
    assert all(math.isnan(found["test_loss"]) for found in read_metrics(tmp_path))
    Config(data=["x"], size=32, augment=["RandomResizedCrop(32)"]).save(tmp_path)
    capsys.readouterr()
    assert main(["advise", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "with --augment; best test accuracy unknown" in out
    assert "not finite" in out


def test_over_fitting_calls_for_decay_augmentation_and_smoothing():
    text = read(0.99, 0.75, model="resnet18").text()
    for flag in ("--weight-decay 0.0002", "--recipe cutmix", "--label-smoothing 0.1"):
        assert flag in text
    assert "--label-smoothing" not in read(0.99, 0.75, model="MobileNetV1_x0_25").text()
    assert "--label-smoothing" not in read(0.99, 0.75, label_smoothing=0.1).text()
    assert "--recipe" not in read(0.99, 0.75, recipe="cutmix").text()


def test_under_fitting_calls_for_the_opposite():
    text = read(0.4, 0.5, recipe="gridmask", label_smoothing=0.1).text()
    for flag in (
        "--weight-decay 3.3e-05",
        "--recipe standard",
        "--scale 0.2 1",
        "--ratio 0.9 1.11",
        "--label-smoothing 0 ",
    ):
        assert flag in text
    text = read(0.4, 0.5, scale=(0.5, 1.0), ratio=(0.9, 1.1), weight_decay=0.0).text()
    assert "- " not in text
    assert "\n" not in read(0.4, 0.5, recipe="gridmask").text(short=True)


def test_the_command_reads_a_finished_run(tmp_path, capsys):
    Config(data=["x"], model="ResNet18", recipe="cutout").save(tmp_path)
    lines = [json.dumps(record(0.5, 0.45 + k / 100, epoch=k)) for k in range(4)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    assert main(["advise", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "4 epochs of ResNet18 with recipe cutout" in out
    assert "fine: train 50.00%, test 48.00%" in out
    assert Image.open(tmp_path / "curves.png").size[0] > 500


@pytest.mark.parametrize("content", [None, "", "{}\n", "nonsense\n", "[]\n", '{"epoch": 0}\n'])
def test_other_folders_are_refused(content, tmp_path, capsys):
    if content is not None:
        (tmp_path / "metrics.jsonl").write_text(content)
    assert main(["advise", str(tmp_path)]) == 2
    assert "metrics.jsonl" in capsys.readouterr().err
