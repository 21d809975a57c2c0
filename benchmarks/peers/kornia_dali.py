"""DALI decodes and scales, Kornia augments the batch in the main process."""

from __future__ import annotations

import kornia.augmentation as K
import torch
from nvidia.dali import pipeline_def
from nvidia.dali.plugin.pytorch import DALIClassificationIterator, LastBatchPolicy
from workloads import MEAN, STD, Job

from .dali_stock import images, reader, settings

TITLE = "Kornia on DALI"


def augmentations(job: Job):
    """Kornia's modules over the whole batch, in one container."""
    normalise = K.Normalize(torch.tensor(MEAN), torch.tensor(STD))
    if job.workload == "eval":
        return K.AugmentationSequential(K.CenterCrop(224), normalise)
    steps = [K.RandomHorizontalFlip(p=0.5)]
    if job.workload == "randaugment":
        steps.append(K.auto.RandAugment(n=2, m=9))
    return K.AugmentationSequential(
        *steps, normalise, *([K.RandomErasing(p=0.5)] if job.workload == "mixed" else [])
    )


def make(job: Job):
    """The container is fed by a DALI iterator that prefetches."""

    @pipeline_def(**settings(job))
    def pipeline():
        files, labels = reader(job)
        return images(job, files), labels

    pipe = pipeline()
    pipe.build()
    # Evaluation's images have different widths: they come one by one there.
    even = job.workload != "eval"
    iterator = (
        DALIClassificationIterator(
            pipe,
            reader_name="Reader",
            auto_reset=True,
            dynamic_shape=not even,
            last_batch_policy=LastBatchPolicy.PARTIAL,
        )
        if even
        else None
    )
    augment = augmentations(job)
    mixes = [
        K.RandomMixUpV2(p=1.0, data_keys=["input", "class"]),
        K.RandomCutMixV2(p=1.0, data_keys=["input", "class"], use_correct_lambda=True),
    ]
    torch.set_num_threads(job.threads)

    class Epochs:
        turn = 0

        def __iter__(self):
            if iterator is None:
                yield from self.evaluation()
                return
            for batch in iterator:
                pixels = batch[0]["data"].permute(0, 3, 1, 2).float() / 255
                labels = batch[0]["label"].squeeze(1).long()
                pixels = augment(pixels)
                if job.workload == "mixed":
                    self.turn += 1
                    pixels, labels = mixes[self.turn % 2](pixels, labels)
                yield pixels, labels

        def evaluation(self):
            left = pipe.epoch_size("Reader")
            while left > 0:
                pictures, labels = pipe.run()
                views = [torch.as_tensor(p).permute(2, 0, 1)[None].float() / 255 for p in pictures][:left]
                left -= len(views)
                yield torch.cat([augment(v) for v in views]), labels

    return Epochs()
