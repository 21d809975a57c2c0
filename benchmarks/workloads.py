"""What is measured: the same four jobs for every loader."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WORKLOADS = {
    "crop": "random resized crop to 224, flip, normalise",
    "mixed": "the same, masks on half of the samples, MixUp or CutMix",
    "randaugment": "random resized crop to 224, flip, RandAugment(2, 9), normalise",
    "eval": "resize to 256, centre crop 224, normalise",
}


@dataclass(frozen=True)
class Job:
    """One measurement.

    Attributes:
        workload: a key of WORKLOADS.
        data: folder in ImageFolder layout.
        batch: samples a batch.
        threads: worker threads or processes, and threads of the main process where it works too.
        device: "cpu" or a CUDA device.
    """

    workload: str
    data: Path
    batch: int = 64
    threads: int = 2
    device: str = "cpu"

    @property
    def classes(self) -> int:
        """Number of class folders."""
        return sum(entry.is_dir() for entry in self.data.iterdir())


class Unsupported(Exception):
    """A peer that cannot do a workload, or is not installed: the reason is shown in the table."""
