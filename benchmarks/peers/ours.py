"""fastaug."""

from __future__ import annotations

from workloads import Job

import fastaug as fa

TITLE = "fastaug"


def augmentations(workload: str) -> list[fa.Augmentation]:
    """The workload as a list."""
    if workload == "eval":
        return [fa.Resize(256), fa.CenterCrop(224), fa.Normalize()]
    masks = fa.OneOf([fa.Cutout(112, p=0.5), fa.GridMask(p=0.5), fa.RandomErasing(p=0.5)])
    mixing = fa.OneOf([fa.MixUp(0.2), fa.CutMix(1.0)])
    middle = {"mixed": [masks, mixing], "randaugment": [fa.RandAugment()]}
    return [fa.RandomResizedCrop(224), fa.RandomHorizontalFlip(), *middle.get(workload, []), fa.Normalize()]


def make(job: Job):
    """fastaug.loader."""
    return fa.loader(
        job.data,
        job.batch,
        job.workload != "eval",
        num_workers=job.threads,
        device=job.device,
        augment=augmentations(job.workload),
        num_classes=job.classes,
    )
