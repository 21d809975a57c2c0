"""In the shape of timm's train.py: its data set, loader, mixing and soft targets."""

from argparse import Namespace

import torch
from timm.data import Mixup, create_dataset, create_loader
from timm.loss import SoftTargetCrossEntropy


def main(folder, model, epochs=1, workers=0):
    args = Namespace(
        aa="rand-m5-mstd0.5-inc1",
        reprob=0.1,
        mixup=0.1,
        cutmix=0.0,
        smoothing=0.1,
        num_classes=4,
        batch_size=16,
        scale=(0.4, 1.0),
        input_size=(3, 32, 32),
        workers=workers,
    )
    dataset_train = create_dataset("", root=folder, split="train")
    mixup_fn = Mixup(args.mixup, args.cutmix, label_smoothing=args.smoothing, num_classes=args.num_classes)
    loader_train = create_loader(
        dataset_train,
        args.input_size,
        args.batch_size,
        is_training=True,
        auto_augment=args.aa,
        re_prob=args.reprob,
        scale=args.scale,
        num_workers=args.workers,
        use_prefetcher=False,
        device=torch.device("cpu"),
        persistent_workers=False,
    )
    loss_fn, optimizer = SoftTargetCrossEntropy(), torch.optim.AdamW(model.parameters(), 2e-3)
    for _ in range(epochs):
        model.train()
        for samples, target in loader_train:
            if mixup_fn is not None:
                samples, target = mixup_fn(samples, target)
            loss = loss_fn(model(samples), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return float(torch.isfinite(loss))
