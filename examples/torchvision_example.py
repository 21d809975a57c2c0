"""torchvision's way to train a classifier, with fastaug in place of the DataLoader.

    python examples/torchvision_example.py DATA [--epochs 2] [--size 224] …

DATA holds the folders train/ and val/, each in ImageFolder layout: class/image.jpg.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
import torchvision
from torchvision import transforms as T
from torchvision.datasets import ImageFolder

import fastaug


def make_loaders(o: argparse.Namespace) -> tuple[fastaug.Loader, fastaug.Loader]:
    """The transforms stay as they are: fastaug carries them out itself."""
    end = [T.ToTensor(), T.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
    train = T.Compose([T.RandomResizedCrop(o.size), T.RandomHorizontalFlip(), T.TrivialAugmentWide(), *end])
    test = T.Compose([T.Resize(o.size * 8 // 7), T.CenterCrop(o.size), *end])
    options = dict(batch_size=o.batch_size, num_workers=o.workers)
    # Before: DataLoader(ImageFolder(…, train), shuffle=True, drop_last=True, **options)
    return (
        fastaug.loader(ImageFolder(o.data / "train", train), shuffle=True, drop_last=True, **options),
        fastaug.loader(ImageFolder(o.data / "val", test), **options),
    )


def train_one_epoch(model, criterion, optimizer, loader, device, epoch):
    """One epoch; returns its mean loss."""
    model.train()
    total, count, start = 0.0, 0, time.perf_counter()
    for images, targets in loader:
        images, targets = images.to(device), targets.to(device)  # they are there already
        loss = criterion(model(images), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total, count = total + loss.item() * len(images), count + len(images)
    rate = optimizer.param_groups[0]["lr"]
    print(
        f"epoch {epoch}: loss {total / count:.3f}, lr {rate:.4f}, "
        f"{count / (time.perf_counter() - start):.0f} images/s"
    )
    return total / count


@torch.inference_mode()
def evaluate(model, loader, device):
    """Top-1 accuracy."""
    model.eval()
    right = sum((model(x.to(device)).argmax(1) == y.to(device)).sum().item() for x, y in loader)
    return right / len(loader.dataset)


def main(arguments: list[str] | None = None) -> list[float]:
    """Trains; returns each epoch's loss."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--lr", type=float, default=0.05)
    o = parser.parse_args(arguments)

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train, test = make_loaders(o)
    model = torchvision.models.get_model(o.model, num_classes=len(train.classes)).to(device)
    criterion = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
    optimizer = torch.optim.SGD(model.parameters(), o.lr, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, o.epochs)
    losses = []
    for epoch in range(o.epochs):
        train.sampler.set_epoch(epoch)  # as with a DistributedSampler
        losses.append(train_one_epoch(model, criterion, optimizer, train, device, epoch))
        schedule.step()
        print(f"epoch {epoch}: accuracy {evaluate(model, test, device):.1%}")
    return losses


if __name__ == "__main__":
    main()
