"""The examples, with the real packages, on the CPU."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import fastaug as fa

EXAMPLES = Path(__file__).parent.parent / "examples"
NET = "shufflenet_v2_x0_5"
SMALL = ["--batch-size", "8", "--size", "32", "--model", NET, "--workers", "1"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Squares of two colours: 26 to train on, 11 to validate with."""
    root, noise = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for split, count in (("train", 13), ("val", 6)):
        for name, colour in (("green", (40, 160, 60)), ("red", (180, 60, 40))):
            folder = root / split / name
            folder.mkdir(parents=True)
            for k in range(count - (split == "val" and name == "red")):
                pixels = colour + noise.normal(0, 30, (40, 48, 3))
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{k:02}.jpg")
    return root


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def same_weights(a, b):
    mine, others = a.state_dict(), b.state_dict()
    return all(torch.equal(mine[name], others[name]) for name in mine.keys() | others.keys())


# ---- CIFAR-10 ----


@pytest.mark.parametrize("loader", ["fastaug", "tensors"])
def test_cifar(data, tmp_path, capsys, monkeypatch, loader):
    """Green and red are told apart by either loader, twice the same."""
    (tmp_path / "test").symlink_to(data / "val")
    (tmp_path / "train").symlink_to(data / "train")
    flags = ["--loader", loader, "--epochs", "20", "--seeds", "1", "--batch", "8", "--width", "0.2"]
    monkeypatch.setattr(sys, "argv", ["cifar_airbench.py", str(tmp_path), *flags])
    said = []
    for _ in range(2):
        example("cifar_airbench").main()
        said.append(capsys.readouterr().out.splitlines()[0])
    assert said[0] == said[1]
    assert float(said[0].split()[-1]) > 0.9


# ---- torchvision ----


def test_torchvision(data, capsys):
    losses = example("torchvision_example").main([str(data), *SMALL, "--epochs", "2"])
    assert np.isfinite(losses).all()
    assert capsys.readouterr().out.count("accuracy") == 2


# ---- timm ----


def test_timm(data, capsys):
    pytest.importorskip("timm")
    arguments = [str(data), "--model", "test_resnet", "--batch-size", "8", "--mixup-off-epoch", "1"]
    losses = example("timm_example").main([*arguments, "--workers", "1"])
    assert np.isfinite(losses).all()
    assert capsys.readouterr().out.count("averaged weights") == 2


def test_timm_without_mixing_sees_the_same_images_and_soft_targets(data):
    from argparse import Namespace

    timm = pytest.importorskip("timm")
    from timm.data.mixup import mixup_target
    from timm.loss import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy

    model = timm.create_model("test_resnet", num_classes=2)
    options = Namespace(data=data, batch_size=8, workers=1, seed=3)
    mixed, unmixed, val = example("timm_example").make_loaders(options, model, torch.device("cpu"))
    mixed.with_plan = True
    mixed.set_epoch(1)
    unmixed.set_epoch(1)
    for (images, targets, plan), (plain, smoothed) in zip(mixed, unmixed, strict=True):
        labels = torch.from_numpy(mixed._engine.source._listing.labels[plan["index"]])
        assert smoothed.allclose(mixup_target(labels, 2, 1.0, 0.1))
        hard = LabelSmoothingCrossEntropy(0.1)(images[:, 0, 0, :2], labels)
        assert SoftTargetCrossEntropy()(images[:, 0, 0, :2], smoothed).allclose(hard)
        blended = torch.from_numpy(plan["mix"] < 2)  # MixUp, or left alone
        lam = torch.from_numpy(plan["lam"])[:, None, None, None]
        want = lam * plain + (1 - lam) * plain[torch.from_numpy(plan["partner"]).long()]
        assert images[blended].allclose(want[blended], atol=1e-5)
        assert not torch.equal(images, plain)
        for k in range(8):  # timm's targets of a sample and its partner
            pair = torch.stack([labels[k], labels[plan["partner"][k]]])
            want = mixup_target(pair, 2, float(plan["lam"][k]), 0.1)[0]
            assert targets[k].allclose(want, atol=1e-6)
    assert next(iter(val))[1].dtype == torch.int64


# ---- Lightning ----


class Fit:
    """Fits of the Lightning example's modules, which differ only in how they are interrupted."""

    def __init__(self, data, folder):
        self.example, self.data, self.folder = example("lightning_example"), data, folder
        self.visited = []

    def __call__(self, ckpt=None, callbacks=(), train=None, **options):
        import lightning as L

        torch.manual_seed(0)
        model = self.example.Classifier(NET, 2, 0.05)
        if train is not None:
            model.configure_optimizers = lambda: torch.optim.SGD(model.parameters(), 0.05)
        visited = self.visited = []

        class Watch(L.Callback):
            def on_train_batch_start(self, trainer, module, batch, number):
                visited.append((trainer.current_epoch, number, batch[0].double().sum().item()))

        given = dict(
            max_epochs=3,
            enable_checkpointing=bool(callbacks),
            logger=False,
            accelerator="cpu",
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[Watch(), *callbacks],
        )
        trainer = L.Trainer(**given | options)
        photos = self.example.Photos(self.data, 8, 32, 1)
        trainer.fit(model, photos if train is None else train, ckpt_path=ckpt)
        return model

    def saving(self, name, **options):
        from lightning.pytorch.callbacks import ModelCheckpoint

        return ModelCheckpoint(self.folder / name, "{epoch}-{step}", save_top_k=-1, **options)


@pytest.fixture
def fit(data, tmp_path):
    pytest.importorskip("lightning")
    return Fit(data, tmp_path)


@pytest.mark.filterwarnings("ignore")
def test_lightning(data, tmp_path):
    pytest.importorskip("lightning")
    arguments = [str(data), *SMALL, "--output", str(tmp_path), "--save-every", "2"]
    quiet = dict(accelerator="cpu", enable_progress_bar=False, logger=False)
    first = example("lightning_example").main([*arguments, "--epochs", "1"], **quiet)
    assert first.global_step == 3
    assert (tmp_path / "last.ckpt").exists()
    second = example("lightning_example").main([*arguments, "--epochs", "2", "--resume", "last"], **quiet)
    assert second.global_step == 6


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "how",
    [
        "in the middle",
        pytest.param("after validation", marks=pytest.mark.release),
        pytest.param("after an epoch", marks=pytest.mark.release),
    ],
)
@pytest.mark.parametrize(
    "options",
    [
        {},
        pytest.param(dict(limit_train_batches=2), marks=pytest.mark.release),
        pytest.param(dict(reload_dataloaders_every_n_epochs=1), marks=pytest.mark.release),
    ],
    ids=["plain", "limited", "reloaded"],
)
def test_a_resumed_lightning_fit_is_the_uninterrupted_one(fit, how, options):
    when = {
        "in the middle": dict(every_n_train_steps=1),
        "after validation": dict(every_n_epochs=1),
        "after an epoch": dict(every_n_epochs=1, save_on_train_epoch_end=True),
    }[how]
    whole = fit(callbacks=[fit.saving("all", **when)], **options)
    steps, visited = 2 if "limit_train_batches" in options else 3, fit.visited
    assert [place for *place, _ in visited] == [[e, b] for e in range(3) for b in range(steps)]
    assert len({image for *_, image in visited}) == len(visited)
    files = sorted((fit.folder / "all").glob("*.ckpt"), key=lambda file: int(file.stem.split("=")[-1]))
    assert len(files) == (3 * steps if how == "in the middle" else 3)
    for file in files[:-1]:
        resumed = fit(ckpt=file, **options)
        done = int(file.stem.split("=")[-1])
        assert fit.visited == visited[done:], file.name
        assert same_weights(resumed, whole), file.name


@pytest.mark.release
@pytest.mark.filterwarnings("ignore")
def test_lightning_keeps_a_loaders_state_by_itself(fit, data):
    def train():
        return fa.loader(data / "train", 8, True, augment=fa.recipes.recipe("mixup", 32), device="cpu")

    whole = fit(callbacks=[fit.saving("all", every_n_train_steps=1)], train=train(), limit_val_batches=0)
    visited = fit.visited
    for file in (fit.folder / "all").glob("*.ckpt"):
        done = int(file.stem.split("=")[-1])
        if done < len(visited):
            resumed = fit(ckpt=file, train=train(), limit_val_batches=0)
            assert fit.visited == visited[done:]
            assert same_weights(resumed, whole)
    assert len(visited) == 12


@pytest.mark.filterwarnings("ignore")
def test_lightning_is_given_a_loader_of_its_own_kind(fit, data):
    """Passed to fit, validated in between, overfitted: nothing has to be switched off for it."""
    augment = [fa.Resize((32, 32)), fa.Normalize()]
    options = dict(batch_size=8, augment=augment, label_smoothing=0.1, device="cpu")
    with fa.loader(data / "train", shuffle=True, **options) as train:
        fit(train=train, max_epochs=2, val_check_interval=0.5, limit_val_batches=0)
        assert len({image for *_, image in fit.visited}) == 8
        assert train.state_dict()["epoch"] == 1
    with fa.loader(data / "train", **options) as train:
        fit(train=train, max_epochs=2, overfit_batches=1, limit_val_batches=0)
        assert [number for _, number, _ in fit.visited] == [0, 0]
        assert fit.visited[0][2] == fit.visited[1][2]


LIGHTNING = """
import json, os, sys
import lightning as L
import torch
import fastaug as fa

class Model(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net, self.seen = torch.nn.Linear(3, 2), {"train": [], "val": []}

    def training_step(self, batch, number):
        images, targets, plan = batch
        self.seen["train"].append(plan["index"].tolist())
        return torch.nn.functional.cross_entropy(self.net(images.mean((2, 3))), targets)

    def validation_step(self, batch, number):
        self.seen["val"].append(batch[2]["index"][batch[2]["repeat"] == 0].tolist())

    def val_dataloader(self):
        return fa.loader(sys.argv[1] + "/val", 2, augment=AUGMENT, with_plan=True, device="cpu")

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

AUGMENT = [fa.RandomResizedCrop(8), fa.Normalize()]
early = fa.loader(sys.argv[1] + "/train", 4, True, augment=AUGMENT, with_plan=True, device="cpu")
model = Model()
L.Trainer(accelerator="cpu", devices=2, strategy="ddp", max_epochs=2, num_sanity_val_steps=0, logger=False,
          enable_checkpointing=False, enable_progress_bar=False).fit(model, early)
with open(sys.argv[2] + str(torch.distributed.get_rank()), "w") as file:
    json.dump(model.seen, file)
"""


@pytest.mark.release
def test_lightning_on_two_ranks_splits_the_data_once(data, tmp_path):
    """Also with a loader that was made before torch.distributed was started; plans pass through."""
    import json

    pytest.importorskip("lightning")
    script = tmp_path / "fit.py"
    script.write_text(LIGHTNING)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(EXAMPLES.parent)}
    command = [sys.executable, str(script), str(data), str(tmp_path / "rank")]
    out = subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment)
    assert out.returncode == 0, out.stderr[-3000:]
    ranks = [json.loads((tmp_path / f"rank{rank}").read_text()) for rank in range(2)]
    for epoch in (slice(0, 4), slice(4, 8)):  # 3 batches of 2 x 4, and one of 2 x 1
        visited = [i for seen in ranks for batch in seen["train"][epoch] for i in batch]
        assert sorted(visited) == list(range(26))
    validated = [i for seen in ranks for batch in seen["val"] for i in batch]
    assert sorted(validated) == sorted([*range(11), *range(11)])


# ---- Accelerate ----


def test_accelerate(data, tmp_path):
    pytest.importorskip("accelerate")
    run = example("accelerate_example").main
    arguments = [str(data), *SMALL, "--cpu"]
    torch.manual_seed(0)
    whole = run([*arguments, "--output", str(tmp_path)])
    assert len(set(whole["seen"])) == 24
    assert abs(whole["lr"]) < 1e-9  # the schedule is at its end
    torch.manual_seed(1)
    resumed = run([*arguments, "--resume", str(tmp_path / "epoch-0")])
    assert resumed["seen"] == whole["seen"]
    assert same_weights(resumed["model"], whole["model"])


LAUNCHED = """
import json, os, runpy, sys
result = runpy.run_path(sys.argv[1])["main"](sys.argv[3:])
with open(sys.argv[2] + os.environ["RANK"], "w") as file:
    json.dump({k: result[k] for k in ("seen", "accuracy", "lr")}, file)
"""


@pytest.mark.release
def test_accelerate_on_two_ranks_splits_the_data_once(data, tmp_path):
    import json

    pytest.importorskip("accelerate")
    script = tmp_path / "launched.py"
    script.write_text(LAUNCHED)
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--standalone",
        str(script),
        str(EXAMPLES / "accelerate_example.py"),
        str(tmp_path / "rank"),
        str(data),
        *SMALL,
        "--cpu",
        "--epochs",
        "1",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(EXAMPLES.parent)}
    out = subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment)
    assert out.returncode == 0, out.stderr[-3000:]
    first, second = (json.loads((tmp_path / f"rank{rank}").read_text()) for rank in range(2))
    assert len(first["seen"]) == len(second["seen"]) == 8  # one step of 2 x 8 of 26
    assert not set(first["seen"]) & set(second["seen"])
    assert first["accuracy"] == second["accuracy"]
    assert "of 11\n" in out.stdout
    assert abs(first["lr"]) < 1e-9
