"""Whole runs in this process: what they learn, leave behind and repeat, and how they refuse."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import fastaug
from fastaug.train import Config, train
from fastaug.train.__main__ import main
from fastaug.train.checkpoint import not_finite
from fastaug.train.data import find_splits
from fastaug.train.networks import make_network
from fastaug.train.optimisers import make_average, make_optimizer
from fastaug.train.settings import resolve

from .conftest import make_data

RUN = Config(model="ResNet8", size=32, epochs=2, batch_size=8, lr=0.05, device="cpu", workers=2)


def weights(folder: str | Path, name: str = "last.pt") -> dict[str, torch.Tensor]:
    return torch.load(Path(folder) / name, weights_only=True)["network"]


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory) -> Path:
    """A finished run of 12 epochs."""
    folder = tmp_path_factory.mktemp("run")
    train(replace(RUN, data=[data], epochs=12, output=str(folder), keep_every=4))
    return folder


def test_it_learns(run):
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert len(records) == 12
    assert records[-1]["test_accuracy"] > 0.9
    assert records[-1]["train_loss"] < 0.5 * records[0]["train_loss"]
    for record in records:
        assert 0 <= record["data_wait"] <= 1
        assert record["images_per_s"] > 0
        assert (record["train_images"], record["test_images"]) == (15, 15)


def test_it_leaves_checkpoints_pictures_and_curves(run):
    names = {path.name for path in run.iterdir()}
    assert {"last.pt", "best.pt", "epoch-4.pt", "epoch-8.pt", "epoch-12.pt", "config.yaml"} <= names
    assert not [name for name in names if name.endswith(".tmp")]
    for name in ("curves.png", "confusion.png"):
        assert np.asarray(Image.open(run / name)).std() > 10
    events = EventAccumulator(str(run))
    events.Reload()
    assert [event.step for event in events.Scalars("test_accuracy")] == list(range(12))


def test_best_is_the_last_of_the_most_accurate_epochs(run):
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    most = max(record["test_accuracy"] for record in records)
    best = torch.load(run / "best.pt", weights_only=True)
    assert best["history"][-1]["test_accuracy"] == most
    assert best["epoch"] - 1 == max(r["epoch"] for r in records if r["test_accuracy"] == most)


def test_the_same_seed_gives_the_same_weights(data, tmp_path):
    folders = [str(tmp_path / str(k)) for k in range(3)]
    for k, folder in enumerate(folders):
        train(replace(RUN, data=[data], recipe="cutmix", output=folder, seed=k // 2, ema=0.9))
    assert same(weights(folders[0]), weights(folders[1]))
    assert not same(weights(folders[0]), weights(folders[2]))


@pytest.mark.parametrize("recipe", fastaug.recipes.NAMES[2:])
def test_every_recipe_trains(data, tmp_path, recipe):
    (record,) = train(replace(RUN, data=[data], recipe=recipe, epochs=1, output=str(tmp_path / "run")))
    assert np.isfinite(record["train_loss"])


@pytest.mark.parametrize(
    "options",
    [
        {"amp": "bfloat16", "channels_last": True},
        {"amp": "float16", "clip_grad": 1.0},
        {"ema": 0.5, "accumulate": 4, "label_smoothing": 0.1},
        {"optimizer": "adamw", "norm_decay": False, "schedule": "polynomial", "warmup_epochs": 1.0},
        {"model": "timm:lcnet_035", "on_error": "skip", "schedule": "exponential"},
    ],
    ids=str,
)
def test_options_train(data, tmp_path, options):
    history = train(replace(RUN, data=[data], output=str(tmp_path / "run"), **options))
    assert len(history) == 2
    assert np.isfinite(history[-1]["train_loss"])


@pytest.mark.release
def test_compile(data, tmp_path):
    torch.compiler.reset()
    plain, compiled = (
        train(replace(RUN, data=[data], output=str(tmp_path / str(c)), epochs=1, compile=c))
        for c in (False, True)
    )
    assert compiled[0]["train_loss"] == pytest.approx(plain[0]["train_loss"], rel=0.02)
    assert weights(tmp_path / "True").keys() == weights(tmp_path / "False").keys()


def test_accumulated_batches_are_one_large_batch(data, tmp_path):
    """On a network without batch statistics: 4 x 4 images make the step that 16 make."""
    config = replace(RUN, data=[data], model="timm:convnext_atto", epochs=1, lr=0.01)
    for name, batch, accumulate in (("one", 16, 1), ("four", 4, 4)):
        train(replace(config, batch_size=batch, accumulate=accumulate, output=str(tmp_path / name)))
    one, four = weights(tmp_path / "one"), weights(tmp_path / "four")
    for key in one:
        torch.testing.assert_close(one[key], four[key], rtol=1e-3, atol=2e-5, msg=key)


@pytest.mark.parametrize("freeze", [None, False])
def test_fine_tuning_starts_from_a_runs_weights_and_keeps_its_batch_statistics(
    run, data, tmp_path, freeze, capsys
):
    folder = tmp_path / "run"
    train(replace(RUN, data=[data], pretrained=str(run / "best.pt"), freeze_bn=freeze, output=str(folder)))
    assert "tensors loaded" in capsys.readouterr().out
    before, after = weights(run, "best.pt"), weights(folder)
    for key in before:
        if key.endswith("running_mean"):
            assert torch.equal(before[key], after[key]) == (freeze is None), key
        if key.endswith("conv1.weight"):
            assert not torch.equal(before[key], after[key])
            torch.testing.assert_close(before[key], after[key], rtol=0.5, atol=0.1)


def test_training_accuracy_is_of_unmixed_images_with_their_own_labels(data, tmp_path):
    """With MixUp at a lam near 1/2 the loss cannot be small, but the accuracy can be all."""
    augment = ["RandomResizedCrop(32)", "MixUp(1000)", "Normalize()"]
    history = train(replace(RUN, data=[data], augment=augment, epochs=12, output=str(tmp_path / "run")))
    assert history[-1]["train_loss"] > 0.3
    assert history[-1]["train_accuracy"] > 0.8


@pytest.mark.parametrize("on_error", ["skip", "replace"])
def test_bad_files_are_replaced_in_training_and_left_out_of_accuracy(data, tmp_path, on_error):
    folder = shutil.copytree(data, tmp_path / "data")
    for split in ("train", "val"):
        (folder / split / "red" / "00.jpg").write_bytes(b"no image")
    config = replace(RUN, data=[str(folder)], epochs=1, on_error=on_error, output=str(tmp_path / "run"))
    (record,) = train(config)
    assert record["test_images"] == 14
    with pytest.raises(RuntimeError, match=r"00\.jpg"):
        train(replace(config, on_error="raise", output=str(tmp_path / "other")))


def test_two_folders_and_each_name_of_the_test_split(data, tmp_path):
    splits = find_splits([f"{data}/train", f"{data}/val"])
    assert (len(splits.train), len(splits.test)) == (48, 15)
    for name in ("val", "validation", "test"):
        folder = make_data(tmp_path / name, 2, 1, name)
        assert len(find_splits([str(folder)]).test) == 3


# ---- what is refused ----


@pytest.fixture
def refused(tmp_path, capsys):
    def call(*flags: str) -> str:
        status = main(
            [
                *flags,
                "--model",
                "ResNet8",
                "--size",
                "32",
                "--device",
                "cpu",
                "--batch-size",
                "8",
                "--epochs",
                "1",
                *(() if "--output" in flags or "--resume" in flags else ("--output", str(tmp_path / "run"))),
            ]
        )
        assert status == 2
        assert not (tmp_path / "run").exists()
        return capsys.readouterr().err

    return call


def test_a_missing_split_is_named(refused, tmp_path):
    (tmp_path / "d" / "training" / "a").mkdir(parents=True)
    error = refused(str(tmp_path / "d"))
    for word in ("train/", "val/ or validation/ or test/", "training", "TRAIN TEST"):
        assert word in error
    assert "does not exist" in refused(str(tmp_path / "nowhere"))


def test_different_classes_are_named(refused, data, tmp_path):
    copy = shutil.copytree(data, tmp_path / "copy")
    (copy / "val" / "sky").rename(copy / "val" / "skies")
    error = refused(str(copy))
    assert "train has sky" in error
    assert "val has skies" in error


def test_a_batch_larger_than_the_data_set(data, tmp_path, capsys):
    assert main([data, "--model", "ResNet8", "--batch-size", "64", "--output", str(tmp_path / "run")]) == 2
    assert "at most 48" in capsys.readouterr().err


def test_a_folder_that_holds_a_run(refused, data, run):
    error = refused(data, "--output", str(run))
    assert f"--resume {run}" in error


def test_an_unknown_network(data, tmp_path, capsys):
    assert main([data, "--model", "ResNet8000", "--output", str(tmp_path / "run")]) == 2
    assert "ResNet8" in capsys.readouterr().err


def test_checkpoints_of_other_runs(run, data, tmp_path, capsys):
    copy = shutil.copytree(run, tmp_path / "copy")
    before = (copy / "last.pt").read_bytes()
    for flags, words in (
        (["--model", "ResNet20"], ["another network", "ResNet8", "ResNet20"]),
        (["--batch-size", "4"], ["images a step", "8", "4"]),
        (["--ema", "0.9"], ["--ema"]),
        (["--optimizer", "adam"], ["optimizer", "sgd"]),
    ):
        assert main(["--resume", str(copy), "--output", str(copy), "--epochs", "13", *flags]) == 2
        error = capsys.readouterr().err
        for word in words:
            assert word in error
    assert (copy / "last.pt").read_bytes() == before


@pytest.mark.parametrize("keep", [0, 100, 0.5, 0.99])
def test_a_truncated_checkpoint(run, tmp_path, capsys, keep):
    copy = shutil.copytree(run, tmp_path / "copy")
    content = (copy / "last.pt").read_bytes()
    (copy / "last.pt").write_bytes(content[: int(keep * len(content)) if keep < 1 else keep])
    assert main(["--resume", str(copy), "--output", str(copy)]) == 2
    error = capsys.readouterr().err
    assert "cut short" in error
    assert "best.pt" in error
    assert main(["--resume", str(copy / "best.pt"), "--output", str(copy)]) == 0


def test_no_checkpoint(data, tmp_path, capsys):
    assert main([data, "--resume", str(tmp_path / "none")]) == 2
    assert "there is no checkpoint" in capsys.readouterr().err


def test_a_finished_run_says_so(run, tmp_path, capsys):
    copy = shutil.copytree(run, tmp_path / "copy")
    assert main(["--resume", str(copy), "--output", str(copy)]) == 0
    assert "all 12 epochs are done" in capsys.readouterr().out


def test_a_run_can_be_made_longer(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy")
    assert main(["--resume", str(copy), "--output", str(copy), "--epochs", "13"]) == 0
    assert len((copy / "metrics.jsonl").read_text().splitlines()) == 13


OVERFLOWING = ["--schedule", "constant", "--lr", "1e6", "--weight-decay", "1e3"]  # weights x 1e9 a step


@pytest.mark.parametrize("ema", [[], ["--ema", "0.9"]])
def test_an_epoch_that_ends_not_finite_takes_no_checkpoints_place(data, tmp_path, capsys, ema):
    """Its two steps have losses that are finite; what they leave is not."""
    folder = tmp_path / "run"
    flags = [data, "--model", "ResNet8", "--size", "32", "--batch-size", "24", "--device", "cpu", *ema]
    flags += ["--output", str(folder)]
    assert main([*flags, "--epochs", "1", *OVERFLOWING]) == 2
    assert re.search(
        r"not finite at epoch 0, step 2: .*running_var.* more; nothing is saved", capsys.readouterr().err
    )
    assert not [path for path in folder.iterdir() if path.suffix in (".pt", ".jsonl")]
    shutil.rmtree(folder)
    assert main([*flags, "--epochs", "1", "--lr", "0.01"]) == 0
    before = {name: (folder / name).read_bytes() for name in ("last.pt", "best.pt", "metrics.jsonl")}
    assert main(["--resume", str(folder), "--epochs", "2", *OVERFLOWING]) == 2
    assert "not finite at epoch 1, step 4: " in capsys.readouterr().err
    assert {name: (folder / name).read_bytes() for name in before} == before


def test_steps_that_float16_skips_do_not_stop_a_run(data, tmp_path, monkeypatch):
    """With a first scale at which every gradient overflows: GradScaler halves it at each of two steps."""
    folder = tmp_path / "run"
    monkeypatch.setattr(torch.amp, "GradScaler", partial(torch.amp.GradScaler, init_scale=2.0**60))
    train(replace(RUN, data=[data], size=8, batch_size=24, amp="float16", epochs=1, output=str(folder)))
    assert torch.load(folder / "last.pt", weights_only=True)["scaler"]["scale"] == 2.0**58


@pytest.mark.parametrize("place", ["weight", "buffer", "average", "moment"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_all_that_a_checkpoint_takes_is_looked_at(place, value):
    config = replace(RUN, data=["x"], optimizer="adam")
    network = make_network("ResNet8", 3)
    average, optimizer = make_average(network, 0.9), make_optimizer(network, config, resolve(config, 48))
    network(torch.randn(2, 3, 32, 32)).sum().backward()
    optimizer.step()
    assert not not_finite(network, average, optimizer)
    last = network[-1].weight
    tensor, words = {
        "weight": (last, "network 8.weight"),
        "buffer": (network[1].running_mean, "network 1.running_mean"),
        "average": (average.module[-1].bias, "average module.8.bias"),
        "moment": (optimizer.state[last]["exp_avg_sq"], "optimizer exp_avg_sq of 8.weight"),
    }[place]
    tensor.data.view(-1)[1] = value
    assert not_finite(network, average, optimizer) == [words]


def test_a_short_run_with_a_long_average_is_as_good_as_without(data, tmp_path):
    """At 0.9999 from the first step on, the average of 36 steps would be 99.6 % the first one's weights."""
    (*_, last) = train(replace(RUN, data=[data], epochs=6, ema=0.9999, output=str(tmp_path / "run")))
    assert last["test_accuracy"] > 0.9


def test_fine_tuning_takes_the_average_that_was_tested(data, tmp_path, capsys):
    train(replace(RUN, data=[data], epochs=1, ema=0.99, output=str(tmp_path / "first")))
    tuned = replace(RUN, data=[data], epochs=1, freeze_bn=True, lr=1e-9, output=str(tmp_path / "second"))
    train(replace(tuned, pretrained=str(tmp_path / "first" / "last.pt")))
    assert "last.pt ('average', the average of the weights): " in capsys.readouterr().out
    first = torch.load(tmp_path / "first" / "last.pt", weights_only=True)
    for key, value in weights(tmp_path / "second").items():
        if key.endswith("conv1.weight"):
            torch.testing.assert_close(value, first["average"][f"module.{key}"], rtol=1e-4, atol=1e-6)
            assert not torch.allclose(value, first["network"][key], rtol=1e-4, atol=1e-6)


def test_a_loss_that_is_not_finite_leaves_the_batch_to_look_at(data, tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(FloatingPointError, match=r"the loss is (nan|inf)") as error:
        train(
            replace(RUN, data=[data], lr=1e6, optimizer="sgd", output=str(folder), epochs=50, recipe="cutout")
        )
    path = re.search(r"in (\S+\.npz)", str(error.value)).group(1)
    plan = fastaug.BatchPlan.load(path)
    assert len(plan) == 8
    assert np.asarray(Image.open(folder / "bad-batch-rank0.png")).std() > 10
    loader = fastaug.loader(
        f"{data}/train", 8, augment=fastaug.recipes.recipe("cutout", 32, 50), with_plan=True
    )
    images, targets, _ = loader.replay(plan)
    assert images.shape == (8, 3, 32, 32)
    assert targets.tolist() == loader._engine.source._listing.labels[plan["index"]].tolist()
    if (folder / "last.pt").exists():
        assert all(value.isfinite().all() for value in weights(folder).values() if value.is_floating_point())
