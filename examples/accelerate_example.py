"""Hugging Face Accelerate with fastaug's batches.

    accelerate launch examples/accelerate_example.py DATA [--epochs 2] [--resume FOLDER] …

DATA holds the folders train/ and val/, each in ImageFolder layout: class/image.jpg.

What to know, because ``prepare`` hands a loader that is not torch's back as it is:

- Make the loader after ``Accelerator()``. It takes rank and number of processes from torch.distributed and
  visits this rank's part, so nothing is left for ``prepare`` to split, and nothing is split twice.
- ``len(loader)`` is this rank's number of steps, where torch's DataLoader has that of all ranks until it is
  prepared. A prepared schedule takes ``num_processes`` steps at a time, so give it ``num_processes`` times as
  many.
- ``register_for_checkpointing(loader)`` puts the place in the epoch into ``save_state``.
- ``gather_for_metrics`` does not know which rows only pad the last batch; ``plan["repeat"]`` says so.
- With gradient accumulation, take a number of steps that divides ``len(loader)``: Accelerate does not see
  the last batch of an epoch coming.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torchvision
from accelerate import Accelerator

import fastaug


def make_loaders(o: argparse.Namespace, device: torch.device) -> tuple[fastaug.Loader, fastaug.Loader]:
    """This rank's part of DATA/train and DATA/val."""
    augment = [
        fastaug.RandomResizedCrop(o.size),
        fastaug.RandomHorizontalFlip(),
        fastaug.MixUp(0.2),
        fastaug.Normalize(),
    ]
    evaluate = [fastaug.Resize(o.size * 8 // 7), fastaug.CenterCrop(o.size), fastaug.Normalize()]
    common = dict(batch_size=o.batch_size, num_workers=o.workers, device=device, with_plan=True)
    return (
        fastaug.loader(o.data / "train", shuffle=True, drop_last=True, augment=augment, **common),
        fastaug.loader(o.data / "val", augment=evaluate, **common),
    )


def main(arguments: list[str] | None = None) -> dict[str, object]:
    """Trains; returns the model, the last epoch's sample numbers on this rank, and figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--output", type=Path, help="save the state there after each epoch")
    parser.add_argument("--resume", type=Path, help="a state that was saved")
    parser.add_argument("--cpu", action="store_true")
    o = parser.parse_args(arguments)

    accelerator = Accelerator(cpu=o.cpu)
    train, val = make_loaders(o, accelerator.device)
    model = torchvision.models.get_model(o.model, num_classes=len(train.classes))
    optimizer = torch.optim.SGD(model.parameters(), o.lr, momentum=0.9, weight_decay=1e-4)
    steps = o.epochs * len(train) * accelerator.num_processes
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    model, optimizer, train, val, schedule = accelerator.prepare(model, optimizer, train, val, schedule)
    accelerator.register_for_checkpointing(train)
    if o.resume:
        accelerator.load_state(o.resume)

    seen: list[int] = []
    accuracy = 0.0
    for epoch in range(train.state_dict()["epoch"], o.epochs):
        train.set_epoch(epoch)
        model.train()
        seen.clear()
        for images, targets, plan in train:
            loss = torch.nn.functional.cross_entropy(model(images), targets)
            accelerator.backward(loss)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            seen += plan["index"].tolist()
        right, count = torch.zeros(2, device=accelerator.device)
        model.eval()
        for images, targets, plan in val:
            once = torch.from_numpy(plan["repeat"] == 0).to(accelerator.device)
            with torch.inference_mode():
                right += ((model(images).argmax(1) == targets) & once).sum()
            count += once.sum()
        right, count = accelerator.reduce(torch.stack([right, count]))
        accuracy = (right / count).item()
        accelerator.print(f"epoch {epoch}: loss {loss.item():.3f}, accuracy {accuracy:.1%} of {int(count)}")
        if o.output:
            accelerator.save_state(o.output / f"epoch-{epoch}")
    accelerator.end_training()
    lr = schedule.get_last_lr()[0]
    return dict(model=accelerator.unwrap_model(model), seen=seen, accuracy=accuracy, lr=lr)


if __name__ == "__main__":
    main()
