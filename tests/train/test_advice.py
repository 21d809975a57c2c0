"""Verdicts, and what to change."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from fastaug.cli import main
from fastaug.train.advice import advise
from fastaug.train.config import Config
from fastaug.train.settings import resolve


def record(train: float, test: float, images: int = 50_000, epoch: int = 0) -> dict:
    return {
        "epoch": epoch,
        "train_accuracy": train,
        "test_accuracy": test,
        "train_images": images,
        "test_images": images,
        "train_loss": 1.0,
        "test_loss": 1.1,
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


@pytest.mark.parametrize("content", [None, "", "{}\n", "nonsense\n"])
def test_other_folders_are_refused(content, tmp_path, capsys):
    if content is not None:
        (tmp_path / "metrics.jsonl").write_text(content)
    assert main(["advise", str(tmp_path)]) == 2
    assert "metrics.jsonl" in capsys.readouterr().err
