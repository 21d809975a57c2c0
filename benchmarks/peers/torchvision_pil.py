"""torch's DataLoader with torchvision's transforms on Pillow images, as in its reference scripts."""

from __future__ import annotations

import torch
from torch.utils.data import DataLoader, default_collate
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2
from workloads import MEAN, STD, Job, Unsupported

TITLE = "torchvision (Pillow)"


def pipeline(workload: str):
    """Transforms of one sample."""
    normalise = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    if workload == "eval":
        return transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), *normalise])
    steps = [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip()]
    if workload == "randaugment":
        steps.append(transforms.RandAugment())
    steps += normalise
    if workload == "mixed":
        steps.append(transforms.RandomErasing(0.5))
    return transforms.Compose(steps)


class Mixed:
    """torch's collation, then torchvision's MixUp or CutMix."""

    def __init__(self, classes: int) -> None:
        self.mix = v2.RandomChoice([v2.MixUp(num_classes=classes, alpha=0.2), v2.CutMix(num_classes=classes)])

    def __call__(self, samples):
        return self.mix(*default_collate(samples))


def data_loader(job: Job, dataset) -> DataLoader:
    """A DataLoader with as many workers as there are threads to use."""
    if job.device != "cpu":
        raise Unsupported("runs on the CPU")
    torch.set_num_threads(1)
    return DataLoader(
        dataset,
        job.batch,
        shuffle=job.workload != "eval",
        num_workers=job.threads,
        persistent_workers=True,
        prefetch_factor=4,
        collate_fn=Mixed(job.classes) if job.workload == "mixed" else None,
    )


def make(job: Job):
    """ImageFolder, Pillow, worker processes."""
    return data_loader(job, ImageFolder(job.data, pipeline(job.workload)))
