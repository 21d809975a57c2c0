"""Runs that are stopped, killed or cannot save, and go on; in processes of their own."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fastaug.train import Config, Interrupted, train
from fastaug.train import loop as loop_module

from .conftest import COMMAND, FLAGS
from .test_run import RUN, same, weights


def equal_runs(a: Path, b: Path) -> None:
    assert same(weights(a), weights(b))
    keys = ("epoch", "steps", "lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy")
    first, second = ([[record[key] for key in keys] for record in records(folder)] for folder in (a, b))
    assert first == second


def records(folder: Path) -> list[dict]:
    import json

    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    "stop", [1, 6, 13, *(pytest.param(stop, marks=pytest.mark.release) for stop in (5, 9, 18))]
)
def test_stopped_at_any_step_and_resumed_is_the_same(data, whole, tmp_path, monkeypatch, stop):
    """18 steps in all: stopped after the given one, in the middle of epochs and at their ends."""
    folder = str(tmp_path / "run")
    config = replace(
        RUN, data=[data], recipe="cutmix", ema=0.9, epochs=3, save_steps=1, keep_every=1, output=folder
    )
    update = loop_module.Run._update

    def stopping(self):
        update(self)
        if self.step == stop:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(loop_module.Run, "_update", stopping)
    with pytest.raises(Interrupted, match="SIGTERM: saved"):
        train(config)
    monkeypatch.setattr(loop_module.Run, "_update", update)
    train(replace(config, resume=folder))
    equal_runs(whole, Path(folder))


@pytest.mark.release
def test_killed_at_random_moments_and_resumed_is_the_same(data, whole, tmp_path):
    """SIGKILL three times, each a moment after the process began to save: in steps, saving and testing."""
    folder = tmp_path / "run"
    random = np.random.default_rng()
    for _ in range(3):
        before = _changed(folder / "last.pt")
        process = subprocess.Popen(
            [*COMMAND, data, *FLAGS, "--output", str(folder), "--resume", "auto"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        while _changed(folder / "last.pt") == before and process.poll() is None:
            time.sleep(0.002)
        time.sleep(random.uniform(0, 0.3))
        process.kill()
        _, error = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), error.decode()
    done = [*COMMAND, "--resume", str(folder), "--output", str(folder)]
    subprocess.run(done, check=True, timeout=200, capture_output=True)
    equal_runs(whole, folder)


def _changed(file: Path) -> int:
    return file.stat().st_mtime_ns if file.exists() else 0


@pytest.mark.release
def test_sigterm_saves_and_exits_clean(data, whole, tmp_path):
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [*COMMAND, data, *FLAGS, "--output", str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    while not (folder / "last.pt").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.terminate()
    _, error = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert f"SIGTERM: saved {folder / 'last.pt'}; go on with --resume {folder}" in error.decode()
    assert "Traceback" not in error.decode()
    subprocess.run([*COMMAND, "--resume", str(folder)], check=True, timeout=200, capture_output=True)
    equal_runs(whole, folder)


def test_a_full_disk_leaves_the_checkpoint_before(data, whole, tmp_path):
    """Files may not grow past a limit that the first checkpoint is under and the second above."""
    folder = tmp_path / "run"
    config = replace(
        RUN, data=[data], recipe="cutmix", ema=0.9, epochs=3, save_steps=1, keep_every=1, output=str(folder)
    )
    with pytest.raises(Interrupted):
        _stopped_after(config, 7)
    before, size = weights(folder), (folder / "last.pt").stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, limits[1]))
    try:
        with pytest.raises(OSError, match=r"last\.pt' cannot be written .* still there") as error:
            train(replace(config, resume=str(folder)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "--resume" in str(error.value)
    assert same(weights(folder), before)
    assert not list(folder.glob("*.tmp"))
    train(replace(config, resume=str(folder)))
    equal_runs(whole, folder)


def _stopped_after(config: Config, steps: int) -> None:
    update = loop_module.Run._update

    def stopping(self):
        update(self)
        if self.step == steps:
            self.signals._note(signal.SIGTERM, None)

    loop_module.Run._update = stopping
    try:
        train(config)
    finally:
        loop_module.Run._update = update
