"""timm's model, optimiser, schedule, loss and averaged weights on fastaug's batches.

    python examples/timm_example.py DATA [--epochs 2] [--mixup-off-epoch 1] …

DATA holds the folders train/ and val/, each in ImageFolder layout: class/image.jpg.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import timm
import torch
from timm.data import resolve_data_config
from timm.loss import SoftTargetCrossEntropy
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import AverageMeter, ModelEmaV3, accuracy

import fastaug


def make_loaders(o: argparse.Namespace, model: torch.nn.Module, device: torch.device):
    """In place of timm.data.create_loader and timm.data.Mixup: (train, train without mixing, val).

    Mixing and smoothing give soft targets, smoothed before they are mixed as timm's Mixup does. The
    second loader is for the last epochs (timm's mixup_off_epoch): it has the same seed, so the same
    crops, and its targets are soft because they are smoothed: the loss stays the same.
    """
    config = resolve_data_config({}, model=model)
    size, crop = config["input_size"][-2:], config["crop_pct"]
    normalize = fastaug.Normalize(config["mean"], config["std"])
    begin = [
        fastaug.RandomResizedCrop(size),
        fastaug.RandomHorizontalFlip(),
        fastaug.RandAugment(2, 9),
        fastaug.RandomErasing(0.25, value="random"),
    ]
    mixing = fastaug.OneOf([fastaug.MixUp(0.8), fastaug.CutMix(1.0)])
    common = dict(batch_size=o.batch_size, num_workers=o.workers, device=device, seed=o.seed)
    options = dict(shuffle=True, drop_last=True, label_smoothing=0.1, **common)
    return (
        fastaug.loader(o.data / "train", augment=[*begin, mixing, normalize], **options),
        fastaug.loader(o.data / "train", augment=[*begin, normalize], **options),
        fastaug.loader(
            o.data / "val",
            **common,
            augment=[fastaug.Resize(round(size[0] / crop)), fastaug.CenterCrop(size), normalize],
        ),
    )


def train_one_epoch(epoch, model, ema, loader, optimizer, scheduler, criterion):
    """One epoch; returns its mean loss."""
    losses = AverageMeter()
    model.train()
    updates = epoch * len(loader)
    for number, (images, targets) in enumerate(loader, 1):
        loss = criterion(model(images), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        ema.update(model, step=updates + number)
        scheduler.step_update(updates + number, metric=loss.item())
        losses.update(loss.item(), len(images))
    return losses.avg


@torch.inference_mode()
def validate(model, loader):
    """Top-1 accuracy in percent."""
    top1 = AverageMeter()
    model.eval()
    for images, targets in loader:
        top1.update(accuracy(model(images), targets)[0].item(), len(images))
    return top1.avg


def main(arguments: list[str] | None = None) -> list[float]:
    """Trains; returns each epoch's loss."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--mixup-off-epoch", type=int, help="first epoch without mixing")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    o = parser.parse_args(arguments)

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    classes = sum(entry.is_dir() for entry in (o.data / "train").iterdir())
    model = timm.create_model(o.model, num_classes=classes).to(device)
    mixed, unmixed, val = make_loaders(o, model, device)
    optimizer = create_optimizer_v2(model, "adamw", lr=o.lr, weight_decay=0.05)
    scheduler, _ = create_scheduler_v2(
        optimizer,
        "cosine",
        num_epochs=o.epochs,
        warmup_epochs=0,
        updates_per_epoch=len(mixed),
        step_on_epochs=False,
    )
    ema = ModelEmaV3(model, decay=0.99)
    criterion, losses = SoftTargetCrossEntropy(), []
    for epoch in range(o.epochs):
        off = o.mixup_off_epoch is not None and epoch >= o.mixup_off_epoch
        loader = unmixed if off else mixed
        loader.set_epoch(epoch)
        losses.append(train_one_epoch(epoch, model, ema, loader, optimizer, scheduler, criterion))
        scheduler.step(epoch + 1)
        print(
            f"epoch {epoch}: loss {losses[-1]:.3f}, accuracy {validate(model, val):.1f} %, "
            f"of the averaged weights {validate(ema.module, val):.1f} %"
        )
    return losses


if __name__ == "__main__":
    main()
