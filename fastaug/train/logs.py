"""What a run tells: a progress bar, a line an epoch, metrics.jsonl and TensorBoard."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import replacing

if TYPE_CHECKING:
    from rich.progress import Progress
    from torch.utils.tensorboard import SummaryWriter

METRICS = "metrics.jsonl"
SPLIT = ("loss", "accuracy", "images", "chance")
NEEDED = (
    "epoch",
    "top_lr",
    "check_loss",
    *(f"{split}_{key}" for split in ("train", "test") for key in SPLIT),
)
_BOUNDS = {"accuracy": (0, 1), "chance": (0, 1), "images": (1, 1e15), "epoch": (0, 1e15), "lr": (0, 1e15)}
Record = dict[str, Any]


class Log:
    """Rank 0's log; the others' says nothing.

    Args:
        on: whether this process writes.
    """

    def __init__(self, on: bool) -> None:
        self._on = on
        self._writer: SummaryWriter | None = None
        self._bar: Progress | None = None

    def open(self, folder: Path, steps: int, done: int, epoch: int) -> None:
        """Begins the bar and TensorBoard's file.

        Args:
            folder: the run's.
            steps: of the whole run.
            done: steps already made when it is resumed.
            epoch: the first that will be logged.
        """
        if not self._on:
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=epoch)
        console = Console(file=sys.stderr)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=steps, completed=done)
        self._bar.start()

    def say(self, text: str) -> None:
        """Lines for the user."""
        if self._on and text:
            print(text, flush=True)

    def step(self, epoch: int, step: int, loss: float, speed: float, wait: float) -> None:
        """Now and then: steps made, loss, images/s of all ranks, share of the time spent waiting for data."""
        if self._bar is not None:
            self._bar.update(
                self._task,
                completed=step,
                description=f"epoch {epoch}  loss {loss:.3f}  "
                f"{speed:.0f} images/s  {wait:.0%} waiting for data",
            )

    def metrics(self, folder: Path, history: Sequence[Record]) -> None:
        """All records to metrics.jsonl."""
        with replacing(folder / METRICS) as file:
            file.write("".join(_line(record) for record in history).encode())

    def epoch(self, folder: Path, history: Sequence[Record]) -> None:
        """After each epoch: the last record to the console and TensorBoard, all of them to metrics.jsonl."""
        if self._writer is None:
            return
        self.metrics(folder, history)
        last = history[-1]
        for key, value in last.items():
            if isinstance(value, (int, float)) and key != "epoch":
                self._writer.add_scalar(key, value, last["epoch"])
        self._writer.flush()
        self.say(
            f"epoch {last['epoch']:3}  loss {last['train_loss']:.3f}  train {last['train_accuracy']:.2%}  "
            f"test {last['test_accuracy']:.2%} (top 5 {last['test_top5']:.2%})  lr {last['lr']:.3g}  "
            f"{last['images_per_s']:.0f} images/s  {last['data_wait']:.0%} waiting for data"
        )

    def close(self) -> None:
        """Ends the bar and the files."""
        if self._bar is not None:
            self._bar.stop()
        if self._writer is not None:
            self._writer.close()


def _line(record: Record) -> str:
    """A record as JSON, which has no NaN or infinity: null."""
    finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
    return json.dumps(finite, allow_nan=False) + "\n"


def best(history: Sequence[Record]) -> Record | None:
    """The last of the most accurate epochs, of those whose test loss is finite; None if none's is."""
    finite = [record for record in history if math.isfinite(record["test_loss"])]
    return max(reversed(finite), key=lambda record: record["test_accuracy"], default=None)


def _check(record: Record) -> None:
    """Raises a ValueError, KeyError or TypeError for what no epoch gives; losses may be NaN."""
    for key in NEEDED:
        value = float(record[key])
        low, high = _BOUNDS.get(key.rpartition("_")[2], (-math.inf, math.inf))
        if value < low or value > high or (low > -math.inf and math.isnan(value)):
            raise ValueError(f"{key} is {value}")


def read_metrics(folder: Path) -> list[Record]:
    """The records of a run's metrics.jsonl; null is NaN.

    Raises:
        FileNotFoundError, ValueError: when there is none, or it is not one.
    """
    file = folder / METRICS
    if not file.is_file():
        raise FileNotFoundError(
            f"{str(folder)!r} holds no {METRICS}; give the --output folder of a run that finished an epoch"
        )
    try:
        records = [json.loads(line) for line in file.read_text().splitlines() if line.strip()]
        records = [{k: math.nan if v is None else v for k, v in record.items()} for record in records]
        for record in records:
            _check(record)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{str(file)!r} is not the metrics of a run ({error!r})") from None
    if not records:
        raise ValueError(f"{str(file)!r} is empty: no epoch was finished")
    return records
