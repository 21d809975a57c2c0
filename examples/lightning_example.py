"""Lightning's Trainer on fastaug's batches, resuming exactly, in the middle of an epoch too.

    python examples/lightning_example.py DATA [--epochs 2] [--resume last] …

DATA holds the folders train/ and val/, each in ImageFolder layout: class/image.jpg.

The loaders are made in the hooks of a LightningDataModule: Lightning has started torch.distributed and
chosen the process's GPU by then, so each rank gets its part of the data on its own GPU. Lightning puts no
DistributedSampler in front of a loader that is not torch's, so ``use_distributed_sampler`` needs no thought.
It sets the epoch through ``loader.sampler``.

Lightning keeps a training loader's ``state_dict()`` in its checkpoints by itself, but does not restore it
once ``trainer.estimated_stepping_batches`` has been asked for, which makes the loaders too early
(https://github.com/Lightning-AI/pytorch-lightning/issues/20550). So the data module here keeps the state as
well, and resumes exactly.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import lightning as L
import torch
import torchvision
from lightning.pytorch.callbacks import ModelCheckpoint

import fastaug


class Photos(L.LightningDataModule):
    """Loaders of DATA/train and DATA/val."""

    def __init__(self, data: Path, batch_size: int, size: int, workers: int) -> None:
        super().__init__()
        self.data, self.size = Path(data), size
        self.common = dict(batch_size=batch_size, num_workers=workers)
        self.resume: dict[str, int] | None = None

    def train_dataloader(self) -> fastaug.Loader:
        augment = [
            fastaug.RandomResizedCrop(self.size),
            fastaug.RandomHorizontalFlip(),
            fastaug.RandAugment(),
            fastaug.OneOf([fastaug.MixUp(0.2), fastaug.CutMix(1.0)]),
            fastaug.Normalize(),
        ]
        self.train = fastaug.loader(
            self.data / "train",
            shuffle=True,
            drop_last=True,
            augment=augment,
            device=self.trainer.strategy.root_device,
            seed=0,  # given, so that loaders made anew (reload_dataloaders_every_n_epochs) go on in it
            **self.common,
        )
        if self.resume:
            self.train.load_state_dict(self.resume)
            self.resume = None
        return self.train

    def val_dataloader(self) -> fastaug.Loader:
        augment = [fastaug.Resize(self.size * 8 // 7), fastaug.CenterCrop(self.size), fastaug.Normalize()]
        return fastaug.loader(
            self.data / "val", augment=augment, device=self.trainer.strategy.root_device, **self.common
        )

    def state_dict(self) -> dict[str, int]:
        return self.train.state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.resume = state


class Classifier(L.LightningModule):
    """A torchvision network with SGD and a cosine schedule."""

    def __init__(self, model: str, num_classes: int, lr: float) -> None:
        super().__init__()
        self.net, self.lr = torchvision.models.get_model(model, num_classes=num_classes), lr

    def training_step(self, batch, batch_idx):
        images, targets = batch  # targets are soft: [B, classes]
        loss = torch.nn.functional.cross_entropy(self.net(images), targets)
        self.log("loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch, batch_idx):
        images, targets = batch
        right = (self.net(images).argmax(1) == targets).float().mean()
        self.log("accuracy", right, prog_bar=True, batch_size=len(images), sync_dist=True)

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), self.lr, momentum=0.9, weight_decay=1e-4)
        steps = self.trainer.estimated_stepping_batches
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def main(arguments: list[str] | None = None, **trainer: object) -> L.Trainer:
    """Trains; ``trainer`` goes to Lightning's Trainer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--output", type=Path, default=Path("lightning-run"))
    parser.add_argument("--save-every", type=int, default=100, help="steps between checkpoints")
    parser.add_argument("--resume", help="a checkpoint's path, or 'last'")
    o = parser.parse_args(arguments)

    L.seed_everything(0)
    data = Photos(o.data, o.batch_size, o.size, o.workers)
    classes = sum(entry.is_dir() for entry in (o.data / "train").iterdir())
    save = ModelCheckpoint(o.output, every_n_train_steps=o.save_every, save_top_k=-1, save_last=True)
    runs = L.Trainer(max_epochs=o.epochs, callbacks=[save], default_root_dir=o.output, **trainer)
    runs.fit(Classifier(o.model, classes, o.lr), data, ckpt_path=o.resume)
    return runs


if __name__ == "__main__":
    main()
