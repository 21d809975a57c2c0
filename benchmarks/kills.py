"""A training that is killed at random moments, and what it loses: nothing.

Run: python benchmarks/kills.py [--kills 50]. A linear model learns from mixed batches, of which some files
are bad, on the CPU; every few batches it writes {model, optimizer, loader.state_dict()} to one file. A
process of it is killed (SIGKILL) at a random moment and started again from that file, over and over; at the
end the weights are compared, bit for bit, with those of a training that nobody touched.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import fastaug as fa

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


def started(pairs: list[tuple[str, int]], checkpoint: Path, pause: float) -> int:
    """A process that trains. It is forked before this one has run anything with threads."""
    process = os.fork()
    if not process:
        try:
            train(pairs, checkpoint, pause)
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
    return process


def main() -> int:
    """Trains without kills, then with them; 0 when the weights are identical."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    args = parser.parse_args()
    chance = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["XDG_CACHE_HOME"] = scratch
        pairs = photos(Path(scratch))
        untouched, killed = Path(scratch) / "untouched.pt", Path(scratch) / "killed.pt"
        begin = time.monotonic()
        if os.waitstatus_to_exitcode(os.waitpid(started(pairs, untouched, 0), 0)[1]):
            return 1
        alone = time.monotonic() - begin
        kills = ends = 0
        while kills < args.kills:
            # Slowed down so that the kills spread over the whole training and not over its first steps.
            process = started(pairs, killed, 0.4 * args.kills * alone / (EPOCHS * len(pairs) / BATCH))
            time.sleep(chance.uniform(0, 1.2 * alone))
            if os.waitpid(process, os.WNOHANG)[0]:
                ends += 1
                killed.unlink()  # it came to its end: begin again
                continue
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            kills += 1
        if os.waitstatus_to_exitcode(os.waitpid(started(pairs, killed, 0), 0)[1]):
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
