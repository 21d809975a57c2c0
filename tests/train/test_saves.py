"""What a run saves: all of it or nothing, by one process at a time, and known when it is damaged."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fastaug import files
from fastaug.files import sweep
from fastaug.train import Config, Interrupted, train
from fastaug.train import loop as loop_module
from fastaug.train.__main__ import main
from fastaug.train.checkpoint import HELD, load, save
from fastaug.train.logs import read_metrics

from .conftest import COMMAND, FLAGS, make_data
from .test_resume import _stopped_after, equal_runs
from .test_run import RUN, same, weights

LONG = pytest.mark.release
FILES = {"last.pt", "best.pt", "config.yaml", "metrics.jsonl", "curves.png", "confusion.png"}


@pytest.fixture
def config(data, tmp_path) -> Config:
    options = dict(recipe="cutmix", ema=0.9, epochs=3, save_steps=1, keep_every=1)
    return replace(RUN, data=[data], output=str(tmp_path / "run"), **options)


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir() if not entry.name.startswith("events.")}


@pytest.mark.parametrize("number", [pytest.param(1, marks=LONG), 2, pytest.param(3, marks=LONG)])
def test_a_save_that_stops_between_its_renames_takes_nothing_back(config, whole, number, monkeypatch):
    """last.pt comes last: what a run goes on from never says more than the other files hold."""
    replaced, rename = [], os.replace
    folder = Path(config.output)

    def stopping(temporary, place):
        if (str(place).endswith(".pt") and (folder / "epoch-1.pt").exists()) or replaced:
            replaced.append(Path(place).name)
            if len(replaced) == number:
                raise KeyboardInterrupt
        elif str(place).endswith("epoch-1.pt"):
            replaced.append("epoch-1.pt")
            if number == 1:
                raise KeyboardInterrupt
        rename(temporary, place)

    monkeypatch.setattr(files.os, "replace", stopping)
    with pytest.raises(KeyboardInterrupt):
        train(config)
    monkeypatch.undo()
    assert replaced == ["epoch-1.pt", "best.pt", "last.pt"][:number]
    assert load(folder / "last.pt")["epoch"] == 0
    assert not [name for name in names(folder) if "tmp" in name]
    train(replace(config, resume=str(folder)))
    equal_runs(whole, folder)


@pytest.mark.parametrize(
    ("call", "number"),
    [
        ("fsync", errno.ENOSPC),
        *(
            pytest.param(call, number, marks=LONG)
            for call in ("open", "write", "fsync", "replace")
            for number in (errno.EIO, errno.ENOSPC)
            if (call, number) != ("fsync", errno.ENOSPC)
        ),
    ],
)
def test_a_call_that_fails_leaves_the_checkpoint_before(config, whole, call, number, monkeypatch):
    with pytest.raises(Interrupted):
        _stopped_after(config, 5)
    folder = Path(config.output)
    before = weights(folder)
    with monkeypatch.context() as patch:
        _fail(patch, call, number)
        with pytest.raises(OSError, match=r"cannot be written|No space|Input/output"):
            train(replace(config, resume=str(folder)))
    assert same(weights(folder), before)
    assert not [name for name in names(folder) if "tmp" in name]
    train(replace(config, resume=str(folder)))
    equal_runs(whole, folder)


def _fail(patch, call: str, number: int) -> None:
    """Lets a call of every checkpoint that is saved fail, but not those of other files."""

    def failing(*_, **__):
        raise OSError(number, os.strerror(number))

    def of_checkpoints(real):
        return lambda *args, **options: (
            failing() if any(str(a).endswith(".pt") for a in args) else real(*args, **options)
        )

    if call == "write":
        patch.setattr(torch, "save", failing)
    elif call == "replace":
        patch.setattr(files.os, "replace", of_checkpoints(os.replace))
    else:
        real = loop_module.checkpoint.replacing

        def replacing(path, *more):
            if call == "open":
                patch.setattr(files, "open", failing, raising=False)
            else:
                patch.setattr(files.os, "fsync", failing)
            return real(path, *more)

        patch.setattr(loop_module.checkpoint, "replacing", replacing)


def test_a_first_save_on_a_full_disk_says_that_there_is_none_before(config):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(
            OSError, match=r"last\.pt' cannot be written .*there is none before it.*begin again"
        ):
            train(config)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not (Path(config.output) / "last.pt").exists()


@pytest.mark.release
def test_two_runs_in_one_folder(data, tmp_path, capsys):
    """The second is refused while the first trains, whether it began anew or goes on; then it may."""
    folder = tmp_path / "run"
    first = subprocess.Popen(
        [*COMMAND, data, *FLAGS, "--epochs", "40", "--output", str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not (folder / "last.pt").exists():
            assert first.poll() is None
            time.sleep(0.05)
        for more in (["--output", str(folder), data], ["--resume", str(folder)]):
            assert main([*more, *FLAGS]) == 2
            assert f"another process trains into '{folder}' just now" in capsys.readouterr().err
    finally:
        first.terminate()
    assert first.wait(60) == 128 + 15
    assert main(["--resume", str(folder), *FLAGS]) == 0


@pytest.mark.release
def test_of_two_runs_that_begin_together_one_trains(data, tmp_path):
    for k in range(5):
        folder = tmp_path / f"{k}"
        both = [
            subprocess.Popen([*COMMAND, data, *FLAGS, "--output", str(folder)], stderr=-1, stdout=-1)
            for _ in range(2)
        ]
        ends = [(process.communicate(timeout=200), process.returncode) for process in both]
        assert sorted(code for _, code in ends) == [0, 2]
        assert any(b"another process trains" in err or b"holds a run" in err for (_, err), _ in ends)


def test_what_killed_saves_left_is_cleared_away(config):
    folder = Path(config.output)
    folder.mkdir()
    (folder / ".fastaug-tmp-0123").write_bytes(b"half a checkpoint")
    train(config)
    assert names(folder) == FILES | {f"epoch-{k}.pt" for k in (1, 2, 3)}
    sweep(folder)
    assert names(folder) >= FILES


@pytest.mark.parametrize("count", [30, pytest.param(1000, marks=pytest.mark.release)])
def test_a_flipped_bit_is_found(tmp_path, count):
    """Or it is in a byte that means nothing; the tensors and all else are as they were saved."""
    tensors = {"a": torch.arange(500.0), "b": torch.arange(7), "c": torch.randn(3, 4, dtype=torch.bfloat16)}
    state = dict.fromkeys(HELD, 0) | {"network": tensors, "history": [{"x": 0.5, "y": None}], "text": "a"}
    save(state, tmp_path, ["last.pt"])
    path, rng, found = tmp_path / "last.pt", np.random.default_rng(count), 0
    data = path.read_bytes()
    good = load(path)
    for _ in range(count):
        bad = bytearray(data)
        bad[int(rng.integers(len(bad)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(bad)
        try:
            read = load(path)
        except ValueError as error:
            found += any(
                words in str(error) for words in ("is damaged", "is cut short", "is not a checkpoint")
            )
        else:
            assert all(torch.equal(read["network"][k], good["network"][k]) for k in tensors)
            assert {k: v for k, v in read.items() if k != "network"} == {
                k: v for k, v in good.items() if k != "network"
            }
    assert found > count / 2


@pytest.mark.parametrize("left", [pytest.param("nothing", marks=LONG), "metrics.jsonl"])
def test_pictures_are_made_although_a_stop_fell_behind_the_last_checkpoint(config, left, monkeypatch, capsys):
    def killed(*_):
        raise KeyboardInterrupt

    folder = Path(config.output)
    with monkeypatch.context() as patch:
        patch.setattr(loop_module, "plot_run", killed)
        with pytest.raises(KeyboardInterrupt):
            train(config)
    if left == "metrics.jsonl":
        (folder / left).unlink()
    assert not (folder / "curves.png").exists()
    capsys.readouterr()
    history = train(replace(config, resume=str(folder)))
    assert "all 3 epochs are done" in capsys.readouterr().out
    assert names(folder) >= FILES
    assert read_metrics(folder) == json.loads(json.dumps(history))


def test_a_finished_run_on_a_read_only_disk_can_be_asked_for(config, monkeypatch, capsys):
    history = train(config)
    folder = Path(config.output)
    before = {entry: entry.stat().st_mtime_ns for entry in folder.iterdir()}

    def read_only(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(files, "open", read_only, raising=False)
    assert train(replace(config, resume=str(folder))) == history
    assert {entry: entry.stat().st_mtime_ns for entry in folder.iterdir()} == before
    (folder / "curves.png").unlink()
    assert train(replace(config, resume=str(folder))) == history
    assert "cannot be written: [Errno 30]" in capsys.readouterr().out


@pytest.mark.parametrize(
    "flags",
    [
        ["--batch-size", "1000"],
        ["--model", "no_such_network"],
        ["--augment", "Cutout(3"],
        ["--pretrained", "nowhere.pt"],
        ["--epochs", "0"],
        ["--scale", "2", "3"],
    ],
    ids=" ".join,
)
def test_nothing_is_left_of_a_run_that_never_began(data, tmp_path, flags, capsys):
    output = tmp_path / "deep" / "run"
    assert main([data, *FLAGS, *flags, "--output", str(output)]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert not (tmp_path / "deep").exists()


GROUP = """
import sys, torch.distributed as dist
from dataclasses import replace
from fastaug.train import train, Config
dist.init_process_group("gloo", init_method=f"file://{sys.argv[3]}", rank=0, world_size=1)
config = Config(data=[sys.argv[1]], model="ResNet8", size=32, epochs=1, batch_size=8, lr=0.05, device="cpu",
                workers=1, output=sys.argv[2])
train(config)
print(dist.is_initialized())
try:
    train(config)
except ValueError:
    print(dist.is_initialized())
"""


@pytest.mark.release
def test_a_process_group_of_the_callers_stays(data, tmp_path):
    command = [sys.executable, "-c", GROUP, data, str(tmp_path / "run"), str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.stdout.splitlines()[-2:] == ["True", "True"], done.stderr


@pytest.mark.parametrize("stop", [pytest.param(5, marks=LONG), 6])
def test_a_record_of_an_epoch_that_was_stopped_has_its_rate_and_speed(config, stop):
    """Six steps an epoch: stopped before its last step, and after it."""
    with pytest.raises(Interrupted):
        _stopped_after(config, stop)
    spent = load(Path(config.output) / "last.pt")["spent"]
    assert spent[0] > spent[1] >= 0
    record = train(replace(config, resume=config.output))[0]
    assert record["lr"] > 0
    assert record["seconds"] >= spent[0]
    assert record["images_per_s"] == pytest.approx(48 / record["seconds"])
    assert 0 <= record["data_wait"] <= 1


@pytest.mark.parametrize("accumulate", [pytest.param(1, marks=LONG), 4, pytest.param(5, marks=LONG)])
def test_a_partial_accumulation_counts_what_it_has(config, accumulate):
    record = train(replace(config, epochs=1, accumulate=accumulate, ema=None))[0]
    assert record["steps"] == -(-6 // accumulate)
    assert record["images_per_s"] * record["seconds"] == pytest.approx(48)


def test_test_images_that_were_added_are_said(data, tmp_path, config, capsys):
    folder = make_data(tmp_path / "data")
    config = replace(config, data=[str(folder)])
    with pytest.raises(Interrupted):
        _stopped_after(config, 7)
    shutil.copy(next((folder / "val" / "red").iterdir()), folder / "val" / "red" / "more.jpg")
    capsys.readouterr()
    history = train(replace(config, resume=config.output))
    assert "test_images      15 (" in capsys.readouterr().out.replace("from now on with", "")
    assert [record["test_images"] for record in history] == [15, 16, 16]
