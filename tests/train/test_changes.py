"""Runs that go on with other settings than they began with: each is applied and said, or refused by name."""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fastaug.train import Config, checkpoint, train
from fastaug.train.__main__ import main
from fastaug.train.config import read_config
from fastaug.train.data import find_splits
from fastaug.train.distributed import join
from fastaug.train.loop import Run
from fastaug.train.optimisers import make_schedule
from fastaug.train.settings import resolve

from .test_run import RUN

# What each field is changed to, with the fields that it needs or that must change with it.
APPLIED = {
    "data": {"data": "elsewhere"},
    "epochs": {"epochs": 4},
    "batch_size": {"batch_size": 4, "accumulate": 2},
    "accumulate": {"batch_size": 2, "accumulate": 4},
    "size": {"size": 24},
    "recipe": {"recipe": "cutmix"},
    "augment": {"augment": ["RandomResizedCrop(32)", "Cutout(8)", "Normalize((0, 0, 0), (1, 1, 1))"]},
    "override": {"override": ["RandomHorizontalFlip.p=1"]},
    "scale": {"scale": (0.9, 1.0)},
    "ratio": {"ratio": (1.0, 1.0)},
    "mean": {"mean": (0.1, 0.2, 0.3)},
    "std": {"std": (0.1, 0.2, 0.3)},
    "label_smoothing": {"label_smoothing": 0.2},
    "momentum": {"momentum": 0.5},
    "lr": {"lr": 0.3},
    "schedule": {"schedule": "constant"},
    "warmup_epochs": {"warmup_epochs": 1.5},
    "warmup_start": {"warmup_epochs": 1.5, "warmup_start": 0.01},
    "step_epochs": {"schedule": "piecewise", "step_epochs": 0.5},
    "gamma": {"schedule": "exponential", "gamma": 0.4},
    "power": {"schedule": "polynomial", "power": 2.0},
    "weight_decay": {"weight_decay": 0.01},
    "freeze_bn": {"freeze_bn": True},
    "ema": {"ema": 0.5},
    "clip_grad": {"clip_grad": 0.5},
    "amp": {"amp": "float16"},
    "on_error": {"on_error": "skip"},
}
REFUSED = {
    "model": {"model": "ResNet20"},
    "pretrained": {"pretrained": "weights.pt"},
    "optimizer": {"optimizer": "adam"},
    "norm_decay": {"norm_decay": False},
    "seed": {"seed": 1},
    "ema": {"ema": None},
    "batch_size": {"batch_size": 4},
    "accumulate": {"accumulate": 2},
}
HARMLESS = {
    "channels_last": {"channels_last": True},
    "compile": {"compile": True},
    "device": {"device": None if not torch.cuda.is_available() else "cpu"},
    "workers": {"workers": 1},
    "output": {"output": "other"},
    "keep_every": {"keep_every": 1},
    "save_steps": {"save_steps": 1},
    "resume": {"resume": "auto"},
}


def test_every_field_is_classified():
    """A new one must be decided upon: what happens to it when a run goes on?"""
    assert {*APPLIED, *REFUSED, *HARMLESS} == {option.name for option in dataclasses.fields(Config)}
    assert set(HARMLESS) == set(checkpoint.FREE)
    assert set(REFUSED) >= set(checkpoint.KEPT)


@pytest.fixture(scope="module")
def begun(data, tmp_path_factory) -> Config:
    """A run of two epochs that has made one."""
    folder = tmp_path_factory.mktemp("begun")
    config = replace(RUN, data=[data], epochs=2, ema=0.9, keep_every=1, output=str(folder))
    train(config)
    shutil.copy(folder / "epoch-1.pt", folder / "last.pt")
    return replace(config, keep_every=0)


def used(config: Config, saved: dict | None) -> dict:
    """What a run uses in its second epoch."""
    run = Run(config, find_splits(config.data), join("cpu"), saved)
    run.log.say(run.about)
    try:
        run.loaders.train.set_epoch(1)
        return {
            "rates": [run.rate(step) for step in range(run.steps, run.steps * run.config.epochs)],
            "groups": [{k: v for k, v in g.items() if k != "params"} for g in run.optimizer.param_groups],
            "batches": [next(iter(loader))[:2] for loader in (run.loaders.train, run.loaders.test)],
            "freeze_bn": run.settings.freeze_bn,
            "scaler": run.scaler.state_dict(),
            "precision": type(run.precision),
            "others": (config.ema, config.clip_grad, config.accumulate, config.on_error, config.data),
        }
    finally:
        run.close()


def same(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b) and a.dtype == b.dtype
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def loaded(config: Config) -> dict:
    return checkpoint.load(Path(config.output) / "last.pt")


@pytest.fixture(scope="module")
def unchanged(begun) -> dict:
    return used(begun, loaded(begun))


@pytest.mark.parametrize("name", APPLIED)
def test_a_change_is_applied_and_said(begun, unchanged, tmp_path, capsys, name):
    """What the run goes on with is what a run that began with it has in that epoch."""
    changes = dict(APPLIED[name])
    if name == "data":
        changes["data"] = [str(shutil.copytree(begun.data[0], tmp_path / "elsewhere"))]
    config = replace(begun, **changes)
    goes_on = used(config, loaded(begun))
    line = next(
        row for row in capsys.readouterr().out.splitlines() if row.split()[:1] == [name] and "→" in row
    )
    before, after = line.split(" → ")
    assert before != after
    began = used(replace(config, output=str(tmp_path / "new")), None)
    assert same(goes_on, began)
    assert not same(goes_on, unchanged)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_changed_is_refused_by_name(begun, name):
    with pytest.raises(ValueError, match=f"--{name}".replace("_", "-")) as error:
        used(replace(begun, **REFUSED[name]), loaded(begun))
    assert "--pretrained" in str(error.value)


@pytest.mark.parametrize("name", HARMLESS)
def test_the_rest_changes_nothing(begun, unchanged, tmp_path, capsys, name):
    changes = {"output": str(tmp_path / "other")} if name == "output" else HARMLESS[name]
    goes_on = used(replace(begun, **changes), loaded(begun))
    out = capsys.readouterr().out
    assert "goes on at epoch 1, step 6\n" in out
    assert "→" not in out
    assert same(goes_on, unchanged)


def test_another_number_of_steps_an_epoch_is_refused(begun, data, tmp_path):
    """24 images a step either way, of 63: 3 steps, the last of 12 images, or 2 steps."""
    folder = shutil.copytree(data, tmp_path / "data")
    for k in range(5):
        for kind in ("red", "green", "sky"):
            shutil.copy(folder / "train" / kind / "00.jpg", folder / "train" / kind / f"more{k}.jpg")
    config = replace(
        begun, data=[str(folder)], batch_size=4, accumulate=6, output=str(tmp_path / "run"), epochs=1
    )
    train(config)
    with pytest.raises(ValueError, match="number of steps an epoch"):
        train(replace(config, batch_size=24, accumulate=1, epochs=2, resume=config.output))


@pytest.mark.parametrize(
    ("flags", "options"),
    [
        ([], {}),
        (["--recipe", "gridmask", "--schedule", "polynomial", "--lr", "0.2"], {}),
        (["--schedule", "piecewise", "--warmup-epochs", "1"], {"warmup_epochs": 2.0}),
    ],
)
def test_a_longer_run_follows_its_own_schedule(data, tmp_path, flags, options, capsys):
    """As the console advises at the end; every rate is that of a run of this length from the beginning."""
    folder = tmp_path / "run"
    train(
        replace(RUN, data=[data], batch_size=16, epochs=2, output=str(folder), recipe="gridmask", **options)
    )
    assert main(["--resume", str(folder), "--epochs", "4", *flags]) == 0
    out = capsys.readouterr().out
    assert "epochs           2 → 4" in out
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    config = read_config(folder / "config.yaml")
    assert config.epochs == 4
    rate = make_schedule(config, resolve(config, images=48), steps=3)
    assert [r["lr"] for r in records[2:]] == [rate(8), rate(11)]
    assert [r["steps"] for r in records] == [3, 6, 9, 12]


def test_a_run_that_is_done_is_not_changed(begun, tmp_path, capsys):
    """Nothing is written that was not used."""
    folder = shutil.copytree(begun.output, tmp_path / "run")
    shutil.copy(folder / "epoch-2.pt", folder / "last.pt")
    before = (folder / "config.yaml").read_bytes()
    assert main(["--resume", str(folder), "--lr", "0.7"]) == 0
    assert "nothing is trained or changed" in capsys.readouterr().out
    assert main(["--resume", str(folder), "--epochs", "1"]) == 2
    assert "give at least --epochs 2" in capsys.readouterr().err
    assert (folder / "config.yaml").read_bytes() == before


def test_another_run_is_not_overwritten(begun, tmp_path, capsys):
    other = shutil.copytree(begun.output, tmp_path / "other")
    before = (other / "last.pt").read_bytes()
    assert main(["--resume", begun.output, "--output", str(other)]) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert (other / "last.pt").read_bytes() == before
