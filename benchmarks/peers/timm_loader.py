"""timm's create_loader; its mixing runs in the training loop, as in its own script."""

from __future__ import annotations

import torch
from workloads import MEAN, STD, Job, Unsupported

TITLE = "timm"


def make(job: Job):
    """create_dataset and create_loader, without the prefetcher, which needs a GPU."""
    try:
        from timm.data import Mixup, create_dataset, create_loader
    except ImportError as error:
        raise Unsupported("timm is not installed") from error
    train = job.workload != "eval"
    torch.set_num_threads(1)
    loader = create_loader(
        create_dataset("", str(job.data)),
        (3, 224, 224),
        job.batch,
        is_training=train,
        use_prefetcher=job.device != "cpu",
        num_workers=job.threads,
        mean=MEAN,
        std=STD,
        interpolation="bilinear",
        hflip=0.5 if train else 0.0,
        color_jitter=None,
        crop_pct=224 / 256,
        auto_augment="rand-m9-n2" if job.workload == "randaugment" else None,
        re_prob=0.5 if job.workload == "mixed" else 0.0,
        persistent_workers=True,
        device=torch.device(job.device),
    )
    if job.workload != "mixed":
        return loader
    mixing = Mixup(mixup_alpha=0.2, cutmix_alpha=1.0, switch_prob=0.5, num_classes=job.classes)

    class Mixed:
        def __iter__(self):
            for images, labels in loader:
                even = len(images) // 2 * 2  # timm pairs the batch with itself backwards
                yield mixing(images[:even], labels[:even])

    return Mixed()
