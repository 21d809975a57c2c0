"""Every flag is used, or refused with what it would need; absurd values end before any work; no traceback."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fastaug.files import replacing
from fastaug.tools.cli import main as command
from fastaug.train import train
from fastaug.train.__main__ import main
from fastaug.train.arrays import array_splits
from fastaug.train.checkpoint import digest, load
from fastaug.train.config import Config
from fastaug.train.networks import check_fit, make_network
from fastaug.train.optimisers import groups, make_schedule
from fastaug.train.settings import resolve

from .test_resume import _stopped_after
from .test_run import RUN

FLAGS = ["--model", "ResNet8", "--size", "32", "--epochs", "2", "--batch-size", "8", "--device", "cpu"]
OPTIONAL = ["--model", "--pretrained", "--recipe", "--device", "--output", "--resume", "--optimizer", "--amp"]


def refused(capsys, *arguments: str) -> str:
    """What a command that must fail prints."""
    status: object = None
    try:
        status = main(list(arguments))
    except SystemExit as stop:  # argparse's way
        status = stop.code
    assert status == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--optimizer", "adam", "--momentum", "0.8"], "--momentum 0.8 is for --optimizer sgd or rmsprop"),
        (["--gamma", "0.5"], "--gamma 0.5 is for --schedule piecewise or exponential"),
        (["--schedule", "constant", "--power", "2"], "--power 2.0 is for --schedule polynomial"),
        (["--step-epochs", "1"], "--step-epochs 1.0 is for --schedule piecewise"),
        (["--freeze-bn"], "--freeze-bn True would not be used without --pretrained"),
        (["--warmup-start", "0.01"], "--warmup-start 0.01 would not be used without --warmup-epochs"),
        (["--warmup-start", "9", "--warmup-epochs", "1", "--lr", "0.1"], "9 is above the top rate 0.1"),
        (["--ema", "1"], "--ema must be above 0 and below 1, not 1"),
        (["--momentum", "1"], "--momentum must be at least 0 and below 1, not 1"),
        (["--label-smoothing", "1"], "--label-smoothing must be at least 0 and below 1, not 1"),
        (["--keep-every", "3"], "--keep-every 3 would keep none of 2 epochs"),
        (["--accumulate", "7"], "--accumulate 7 asks for more batches than the 6 of an epoch"),
        (["--override", "RandomResizedCrop.size=24"], "--override makes images of 24 x 24"),
        (["--augment", "RandomResizedCrop(24)"], "--augment makes images of 24 x 24"),
        (["--augment", "RandomResizedCrop(32)", "--scale", "0.5", "1"], "--scale .* would not be used"),
        (["--step-epochs", "1e-9", "--schedule", "piecewise"], "--step-epochs must be at least 0.001"),
        (["--step-epochs", "3", "--schedule", "piecewise"], "--step-epochs must be .* at most 2"),
        (["--epochs", "999999999999"], "--epochs must be at least 1 and at most 1e.06"),
        (["--size", "1000000"], "--size must be at least 1 and at most 8192"),
        (["--seed", "-1"], "--seed must be at least 0"),
        (["--seed", "99999999999999999999999"], "--seed must be .* at most"),
        (["--lr", "nan"], "lr(.|\\n)*nan"),
        (["--lr", "inf"], "lr(.|\\n)*inf"),
        (["--clip-grad", "0"], "--clip-grad must be above 0"),
        (["--workers", "100000"], "--workers must be at least 0 and at most 1024"),
        (["--warmup-epochs", "3"], "--warmup-epochs must be at least 0 and at most 2"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_would_not_be_used_is_refused(data, tmp_path, capsys, flags, words):
    import re

    error = refused(capsys, data, *FLAGS, "--output", str(tmp_path / "run"), *flags)
    assert re.search(words, error), error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("flag", OPTIONAL)
def test_empty_texts_are_refused(data, tmp_path, capsys, flag):
    output = [] if flag == "--output" else ["--output", str(tmp_path / "run")]
    assert flag in refused(capsys, data, *FLAGS, *output, flag, "")


@pytest.mark.parametrize("flags", [["--epoch", "1"], ["--warmup", "1"], ["--mom", "0.5"], ["--no-such", "1"]])
def test_beginnings_of_flags_are_not_flags(data, tmp_path, capsys, flags):
    assert flags[0][2:] in refused(capsys, data, *FLAGS, "--output", str(tmp_path / "run"), *flags)


def test_large_seeds_are_seeds(data, tmp_path):
    config = replace(RUN, data=[data], epochs=1, seed=2**64 - 1, output=str(tmp_path / "run"))
    assert train(config)[0]["steps"] == 6


# ---- networks and files that do not fit ----


@pytest.mark.parametrize(
    ("model", "size", "words"),
    [
        ("timm:vit_tiny_patch16_224", "32", r"does not take images of 32 x 32"),
        ("torchvision:vit_b_16", "32", r"does not take images of 32 x 32"),
        ("torchvision:alexnet", "32", r"does not take images of 32 x 32"),
    ],
)
def test_a_network_that_does_not_fit_the_size(data, tmp_path, capsys, model, size, words):
    flags = [*FLAGS, "--output", str(tmp_path / "run"), "--model", model, "--size", size]
    assert words in refused(capsys, data, *flags)
    assert not (tmp_path / "run").exists()


def test_looking_whether_a_network_fits_leaves_it_as_it_was():
    network = make_network("ResNet8", 3)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    check_fit(network, "ResNet8", 32, 3)
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    with pytest.raises(ValueError, match=r"gives \(2, 3\) for two images.*4 classes"):
        check_fit(network, "ResNet8", 32, 4)


@pytest.fixture(scope="module")
def stopped(data, tmp_path_factory) -> Path:
    """A run that was stopped in its second epoch."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    config = replace(RUN, data=[data], epochs=3, ema=0.9, save_steps=1, output=str(folder))
    with pytest.raises(Exception, match="SIGTERM"):
        _stopped_after(config, 8)
    return folder


@pytest.mark.parametrize(
    "key", ["network", "optimizer", "loader", "history", "identity", "described", "spent"]
)
def test_a_checkpoint_that_lacks_a_key(stopped, tmp_path, capsys, key):
    folder = Path(shutil.copytree(stopped, tmp_path / "run"))
    state = load(folder / "last.pt")
    del state[key]
    with replacing(folder / "last.pt") as file:
        torch.save(state | {"digest": digest(state)}, file)
    assert f"lacks {key}" in refused(capsys, "--resume", str(folder))


@pytest.mark.parametrize("part", ["identity", "loader", "optimizer", "network"])
def test_a_checkpoint_whose_part_is_empty(stopped, tmp_path, capsys, part):
    folder = Path(shutil.copytree(stopped, tmp_path / "run"))
    state = load(folder / "last.pt") | {part: {}}
    with replacing(folder / "last.pt") as file:
        torch.save(state | {"digest": digest(state)}, file)
    error = refused(capsys, "--resume", str(folder))
    assert "checkpoint" in error or "state" in error


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no settings"),
        ("- a\n- b\n", "holds no settings"),
        ("model: [", "is not YAML"),
        ("no_such: 1\n", "'no_such', which is no setting"),
        ("\x00\x01", "is not YAML"),
    ],
)
def test_a_configuration_that_is_none(stopped, tmp_path, capsys, text, words):
    folder = Path(shutil.copytree(stopped, tmp_path / "run"))
    (folder / "config.yaml").write_text(text)
    assert words in refused(capsys, "--resume", str(folder))


ODD = [
    ("test_images", 0),
    ("train_images", -3),
    ("test_accuracy", 1.5),
    ("test_accuracy", None),
    ("train_accuracy", "much"),
    ("train_accuracy", -0.1),
    ("epoch", 1e300),
    ("top_lr", None),
    ("test_chance", 1e9),
    ("check_loss", {}),
    ("epoch", []),
]


@pytest.mark.parametrize(("key", "value"), ODD)
def test_odd_metrics_are_refused_by_advise(stopped, tmp_path, capsys, key, value):
    folder = Path(shutil.copytree(stopped, tmp_path / "run"))
    record = json.loads((folder / "metrics.jsonl").read_text()) | {key: value}
    (folder / "metrics.jsonl").write_text(json.dumps(record) + "\n")
    capsys.readouterr()
    assert command(["advise", str(folder)]) == 2
    assert "is not the metrics of a run" in capsys.readouterr().err


# ---- rates, decay ----


def test_warm_up_can_be_given_when_a_run_goes_on(stopped, tmp_path, capsys):
    folder = Path(shutil.copytree(stopped, tmp_path / "run"))
    flags = ["--warmup-epochs", "2", "--warmup-start", "0.01"]
    assert main(["--resume", str(folder), "--output", str(folder), *flags]) == 0
    out = capsys.readouterr().out
    assert "warmup_epochs    0 → 2.0" in out
    assert "warmup_start     0.0 → 0.01" in out
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    # Steps 0 to 17, six an epoch; over twelve from 0.01 to 0.05.
    assert records[1]["lr"] == pytest.approx(0.01 + 0.04 * 11 / 12)


@pytest.mark.parametrize("start", [None, 0.0, 0.02, 0.1])
def test_the_warm_up_begins_where_it_is_told_to(start):
    config = replace(RUN, data=["x"], epochs=4, lr=0.1, warmup_epochs=2.0, warmup_start=start)
    rate = make_schedule(config, resolve(config, images=48), 5)
    begin = start or 0.0
    assert [rate(k) for k in range(10)] == pytest.approx([begin + (0.1 - begin) * k / 10 for k in range(10)])
    assert rate(10) == pytest.approx(0.1)


def spared(network: nn.Module, norm_decay: bool) -> set[str]:
    """Names of the parameters without weight decay."""
    names = {id(p): name for name, p in network.named_parameters()}
    found = groups(network, 0.1, norm_decay)
    assert sum(len(group["params"]) for group in found) == len(names)
    return {names[id(p)] for group in found for p in group["params"] if group["weight_decay"] == 0}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("timm:vit_tiny_patch16_224", {"cls_token", "pos_embed"}),
        ("timm:swin_tiny_patch4_window7_224", {"layers.0.blocks.0.attn.relative_position_bias_table"}),
        ("timm:deit_tiny_distilled_patch16_224", {"cls_token", "dist_token", "pos_embed"}),
        ("torchvision:vit_b_16", {"class_token", "encoder.pos_embedding"}),
        ("torchvision:swin_t", {"features.1.0.attn.relative_position_bias_table"}),
        ("ResNet8", set()),
    ],
)
def test_tokens_and_positions_are_not_decayed(name, expected):
    network = make_network(name, 3)
    without = spared(network, norm_decay=True)
    assert expected <= without
    assert all(name.rpartition(".")[2] in {e.rpartition(".")[2] for e in expected} for name in without)
    norms = {name for name, p in network.named_parameters() if p.ndim < 2}
    assert spared(network, norm_decay=False) == without | norms


def test_what_a_network_itself_spares_is_not_decayed():
    class Mine(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.table = nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(2, 2))

        def no_weight_decay(self):
            return {"table"}

    assert spared(Mine(), norm_decay=True) == {"table"}


# ---- arrays ----


def arrays(path: Path, **names) -> str:
    np.savez(path, **names)
    return str(path)


@pytest.fixture(scope="module")
def squares() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    colours = np.array([(30, 200, 40), (200, 40, 30), (40, 90, 220)])[labels]
    images = colours[:, None, None] + rng.normal(0, 30, (60, 32, 32, 3))
    return {"images": images.clip(0, 255).astype(np.uint8), "labels": labels}


@pytest.mark.parametrize(
    "names",
    [
        ("train_images", "train_labels", "val_images", "val_labels"),
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("x_train", "y_train", "x_test", "y_test"),
    ],
)
def test_it_trains_on_arrays(tmp_path, squares, names):
    images, labels = squares["images"], squares["labels"]
    column = labels[:, None]  # as MedMNIST and Keras have them
    parts = images[:45], column[:45], images[45:], column[45:]
    path = arrays(tmp_path / "squares.npz", **dict(zip(names, parts, strict=True)))
    assert main([path, *FLAGS, "--lr", "0.05", "--output", str(tmp_path / "run")]) == 0
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert records[-1]["test_accuracy"] > 0.6
    assert (tmp_path / "run" / "confusion.png").exists()


def test_two_files_are_two_splits(tmp_path, squares):
    images, labels = squares["images"], squares["labels"]
    first = arrays(tmp_path / "a.npz", images=images[:45], labels=labels[:45])
    second = arrays(tmp_path / "b.npz", x=images[45:], y=labels[45:])
    splits = array_splits([first, second])
    assert (len(splits.train), len(splits.test), splits.classes) == (45, 15, ["0", "1", "2"])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (dict(train_images=np.zeros((4, 8, 8, 3), np.uint8)), "no arrays for train"),
        (dict(x_train=np.zeros((4, 8, 8)), y_train=np.zeros(4, int), x_test=1, y_test=1), "must be uint8"),
        (dict(x_train=np.zeros((4, 8, 8, 3), np.uint8), y_train=np.zeros(3, int)), "4 images but labels"),
        (dict(x_train=np.zeros((4, 8, 8, 3), np.uint8), y_train=np.zeros(4)), "labels are float64"),
        (dict(x_train=np.array([{}], object), y_train=np.zeros(1, int)), "no .npz file of plain arrays"),
        (dict(x_train=np.zeros((4, 8, 8, 3), np.uint8), y_train=np.zeros(4, int)), "no arrays for val or"),
    ],
)
def test_arrays_that_are_none(tmp_path, capsys, content, words):
    path = arrays(tmp_path / "x.npz", **content)
    assert words in refused(capsys, path, *FLAGS, "--output", str(tmp_path / "run"))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY", b"text"])
def test_files_that_are_no_arrays(tmp_path, capsys, content):
    (tmp_path / "x.npz").write_bytes(content)
    assert "x.npz" in refused(capsys, str(tmp_path / "x.npz"), *FLAGS, "--output", str(tmp_path / "run"))
    assert "check the path" in refused(capsys, str(tmp_path / "y.npz"), *FLAGS)
    assert "is no .npz file" in refused(capsys, str(tmp_path), str(tmp_path / "x.npz"), *FLAGS)


def test_every_field_has_a_flag_and_a_bound():
    assert Config(data=["x"]).check() is None
