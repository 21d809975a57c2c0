"""fastaug."""

from __future__ import annotations

from workloads import Job, Unsupported

import fastaug as fa

TITLE = "fastaug"


def augmentations(workload: str) -> list[fa.Augmentation]:
    """The workload as a list."""
    if workload == "eval":
        return [fa.Resize(256), fa.CenterCrop(224), fa.Normalize()]
    if workload == "randaugment":
        raise Unsupported("no RandAugment yet")
    middle: list[fa.Augmentation] = []
    if workload == "mixed":
        middle = [
            fa.OneOf([fa.Cutout(112, p=0.5), fa.GridMask(p=0.5), fa.RandomErasing(p=0.5)]),
            fa.OneOf([fa.MixUp(0.2), fa.CutMix(1.0)]),
        ]
    return [fa.RandomResizedCrop(224), fa.RandomHorizontalFlip(), *middle, fa.Normalize()]


def make(job: Job):
    """fastaug.loader."""
    return fa.loader(
        job.data,
        job.batch,
        job.workload != "eval",
        num_workers=job.threads,
        augment=augmentations(job.workload),
        device=job.device,
    )
