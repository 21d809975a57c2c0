"""fastaug alone, one stage more in each row: what each adds. Called by run.py --stages."""

from __future__ import annotations

import time
from collections.abc import Iterable
from statistics import median

import torch
from peers import ceiling, ours
from workloads import Job

import fastaug as fa


def table(job: Job, rounds: int) -> list[str]:
    """Markdown; rounds in turns, all in this process."""
    crop, flip, *middle, normalise = ours.augmentations("mixed")
    masks, mixing = middle

    def loader(augment: list[fa.Augmentation], **options: object) -> Iterable:
        return fa.loader(
            job.data,
            job.batch,
            True,
            num_workers=job.threads,
            augment=augment,
            device=job.device,
            num_classes=job.classes,
            **options,
        )

    rows: dict[str, Iterable] = {
        "decoding alone, by DALI": ceiling.make(Job("crop", job.data, job.batch, job.threads)),
        "+ scale, flip (uint8 batches)": loader([crop, flip], dtype=torch.uint8),
        "+ normalise (float32)": loader([crop, flip, normalise]),
        "+ masks": loader([crop, flip, masks, normalise]),
        "+ MixUp or CutMix": loader([crop, flip, masks, mixing, normalise]),
    }
    rates: dict[str, list[float]] = {name: [] for name in rows}
    cpu: dict[str, list[float]] = {name: [] for name in rows}
    for turn in range(rounds + 1):
        for name, batches in rows.items():
            begin, spent = time.perf_counter(), time.process_time()
            count = sum(len(images) for images, _ in batches)
            if turn:
                rates[name].append(count / (time.perf_counter() - begin))
                cpu[name].append((time.process_time() - spent) / count * 1e3)
    return [
        "| stage | images/s | CPU ms an image |",
        "|---|---|---|",
        *(f"| {name} | {median(rates[name]):.0f} | {median(cpu[name]):.3f} |" for name in rows),
    ]
