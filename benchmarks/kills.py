"""A training that is killed at random moments, and what it loses: nothing.

Run: python benchmarks/kills.py [--kills 50] [--signals KILL TERM INT]. A linear model learns from mixed
batches, of which some files are bad, on the CPU; every few batches it writes {model, optimizer,
loader.state_dict()} to one file. A process of it is killed (SIGKILL) at a random moment and started again
from that file, over and over; at the end the weights are compared, bit for bit, with those of a training
that nobody touched.

With --signals it is ``fastaug train`` that is stopped, so often by each of these signals: a small network
with mixing, averaged weights and accumulated batches. Weights, best.pt, history and pictures are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import fastaug as fa
from fastaug.train import Config, Interrupted
from fastaug.train import train as run_trainer
from fastaug.train.loop import Run

STOPPED = 75  # exit status of a trainer that saved and stopped
TIMES = ("seconds", "images_per_s", "data_wait")
EPOCHS, BATCH, EVERY, SIZE = 6, 8, 3, 16
AUGMENT = [fa.RandomResizedCrop(SIZE), fa.RandomHorizontalFlip(), fa.Cutout(6), fa.MixUp(0.4), fa.Normalize()]


def photos(folder: Path, count: int = 240) -> list[tuple[str, int]]:
    """Small JPEGs; one in forty is bad."""
    rng = np.random.default_rng(0)
    pairs = []
    for k in range(count):
        path = folder / f"{k:03}.jpg"
        Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8)).save(path)
        if k % 40 == 7:
            path.write_bytes(path.read_bytes()[: 200 if k % 80 == 7 else 700])
        pairs.append((str(path), k % 5))
    return pairs


def train(pairs: list[tuple[str, int]], checkpoint: Path, pause: float) -> None:
    """Trains to the end, from the checkpoint where there is one. ``pause``: seconds of a step, at least."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = torch.nn.Linear(3 * SIZE * SIZE, 5)
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    with fa.loader(pairs, BATCH, True, augment=AUGMENT, num_classes=5, on_error="replace", seed=3) as loader:
        if checkpoint.exists():
            saved = torch.load(checkpoint)
            model.load_state_dict(saved["model"])
            optimizer.load_state_dict(saved["optimizer"])
            loader.load_state_dict(saved["loader"])
        for epoch in range(loader.state_dict()["epoch"], EPOCHS):
            loader.set_epoch(epoch)
            for step, (images, targets) in enumerate(loader, 1):
                loss = torch.nn.functional.cross_entropy(model(images.flatten(1)), targets)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                time.sleep(pause)
                if step % EVERY == 0:
                    save(checkpoint, model, optimizer, loader)
        save(checkpoint, model, optimizer, loader)


def save(
    checkpoint: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, loader: fa.Loader
) -> None:
    """Writes beside the file, then renames: a kill leaves the old one or the new one."""
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "loader": loader.state_dict()}
    torch.save(state, checkpoint.with_suffix(".new"))
    os.replace(checkpoint.with_suffix(".new"), checkpoint)


def started(work: Callable[[], None]) -> int:
    """A process that does some work. It is forked before this one has run anything with threads."""
    process = os.fork()
    if not process:
        try:
            work()
            os._exit(0)
        except (Interrupted, KeyboardInterrupt):
            os._exit(STOPPED)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
    return process


def ended(process: int) -> int:
    """A process's exit status: that of a signal is below 0."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def trainer(data: Path, folder: Path, pause: float) -> None:
    """The bundled trainer, to its end or a signal, from where its folder is. ``pause``: as in ``train``."""
    torch.set_num_threads(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    update = Run._update

    def slow(run: Run) -> None:
        update(run)
        time.sleep(pause)

    Run._update = slow  # type: ignore[method-assign]
    config = Config(
        data=[str(data)],
        model="ResNet8",
        size=32,
        epochs=4,
        batch_size=8,
        lr=0.05,
        recipe="cutmix",
        ema=0.9,
        accumulate=3,
        save_steps=1,
        keep_every=2,
        on_error="replace",
        device="cpu",
        workers=2,
        output=str(folder),
        resume="auto",
    )
    run_trainer(config)


def split(pairs: list[tuple[str, int]], root: Path) -> Path:
    """The photos as a folder that the trainer takes."""
    for k, (path, _) in enumerate(pairs):
        place = root / ("val" if k % 5 == 4 else "train") / str(k % 3)
        place.mkdir(parents=True, exist_ok=True)
        Path(path).rename(place / Path(path).name)
    return root


def timeless(record: dict[str, object]) -> dict[str, object]:
    """An epoch's record, but for times."""
    return {key: value for key, value in record.items() if key not in TIMES}


def outcome(folder: Path) -> dict[str, object]:
    """What a finished run left, but for times."""
    found: dict[str, object] = {}
    for name in ("last.pt", "best.pt", "epoch-2.pt", "epoch-4.pt"):
        state = torch.load(folder / name, weights_only=True)
        for part in ("network", "average"):
            found |= {f"{name} {part} {key}": value.numpy().tobytes() for key, value in state[part].items()}
        found[f"{name} place"] = (state["epoch"], state["step"], state["loader"])
        found[f"{name} history"] = [timeless(record) for record in state["history"]]
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    found["metrics"] = [timeless(json.loads(line)) for line in lines]
    return found | {name: (folder / name).read_bytes() for name in ("curves.png", "confusion.png")}


def kill_trainer(data: Path, scratch: Path, kills: int, names: list[str], seed: int) -> bool:
    """Stops the trainer so often by each signal; whether all is as in an untouched run."""
    untouched, chance = scratch / "untouched", random.Random(seed)
    begin = time.monotonic()
    if ended(started(lambda: trainer(data, untouched, 0))):
        return False
    alone, want, fine = time.monotonic() - begin, outcome(untouched), True
    for name in names:
        folder, number = scratch / name, getattr(signal, f"SIG{name}")
        begin, done, whole, wrong = time.monotonic(), 0, 0, 0
        while done < kills or not (folder / "confusion.png").exists():
            # Slowed down so that the stops spread over the whole training and not over its first steps.
            process = started(lambda folder=folder: trainer(data, folder, 0.05))  # type: ignore[misc]
            if done < kills:
                time.sleep(chance.uniform(0.1, 0.8 * alone))
                with suppress(ProcessLookupError):
                    os.kill(process, number)
            status = ended(process)
            done += status != 0
            wrong += status not in (0, STOPPED, -number)
            if status == 0:
                whole += 1
                wrong += outcome(folder) != want
                if done < kills:
                    shutil.rmtree(folder)
        fine &= wrong == 0
        verdict = f"DIFFERENT or lost {wrong} times" if wrong else "identical"
        print(
            f"{done} x SIG{name}, {whole} runs to their end, {time.monotonic() - begin:.0f} s: weights, "
            f"best.pt, history and pictures {verdict}",
            flush=True,
        )
    return fine


def main() -> int:
    """Trains without kills, then with them; 0 when the weights are identical."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument(
        "--signals", nargs="+", default=[], choices=["KILL", "TERM", "INT"], help="of the trainer"
    )
    args = parser.parse_args()
    if args.signals:
        with tempfile.TemporaryDirectory() as name:
            os.environ["XDG_CACHE_HOME"] = name
            data = split(photos(Path(name)), Path(name) / "data")
            return 0 if kill_trainer(data, Path(name), args.kills, args.signals, args.seed) else 1
    chance = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["XDG_CACHE_HOME"] = scratch
        pairs = photos(Path(scratch))
        untouched, killed = Path(scratch) / "untouched.pt", Path(scratch) / "killed.pt"
        begin = time.monotonic()
        if ended(started(lambda: train(pairs, untouched, 0))):
            return 1
        alone = time.monotonic() - begin
        kills = ends = 0
        while kills < args.kills:
            # Slowed down so that the kills spread over the whole training and not over its first steps.
            pause = 0.4 * args.kills * alone / (EPOCHS * len(pairs) / BATCH)
            process = started(lambda pause=pause: train(pairs, killed, pause))  # type: ignore[misc]
            time.sleep(chance.uniform(0, 1.2 * alone))
            if os.waitpid(process, os.WNOHANG)[0]:
                ends += 1
                killed.unlink()  # it came to its end: begin again
                continue
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            kills += 1
        if ended(started(lambda: train(pairs, killed, 0))):
            return 1
        first, last = torch.load(untouched), torch.load(killed)
    same = all(torch.equal(first["model"][name], last["model"][name]) for name in first["model"])
    same &= first["loader"] == last["loader"]
    print(
        f"{kills} kills, begun anew {ends} times, {time.monotonic() - begin:.0f} s: weights "
        f"{'identical' if same else 'DIFFERENT'}"
    )
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
