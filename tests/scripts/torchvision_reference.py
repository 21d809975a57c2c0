"""In the shape of torchvision's classification reference: MixUp and CutMix in the collate_fn."""

import torch
from torch import nn
from torch.utils.data import DataLoader, default_collate
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2


def train_one_epoch(model, criterion, optimizer, loader):
    model.train()
    for images, targets in loader:
        loss = criterion(model(images), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.inference_mode()
def evaluate(model, loader):
    model.eval()
    hits = [(model(images).argmax(1) == targets).float() for images, targets in loader]
    return torch.cat(hits).mean().item()


def main(folder, model, epochs=1, workers=0):
    end = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.25] * 3)]
    train_set = ImageFolder(
        f"{folder}/train", v2.Compose([v2.RandomResizedCrop(32, (0.4, 1)), v2.RandomHorizontalFlip(), *end])
    )
    test_set = ImageFolder(f"{folder}/val", v2.Compose([v2.Resize(36), v2.CenterCrop(32), *end]))
    mix = v2.RandomChoice([v2.MixUp(alpha=0.1, num_classes=4), v2.CutMix(alpha=0.1, num_classes=4)])

    def collate_fn(batch):
        return mix(*default_collate(batch))

    train_loader = DataLoader(
        train_set, batch_size=16, shuffle=True, num_workers=workers, collate_fn=collate_fn
    )
    test_loader = DataLoader(test_set, batch_size=16, num_workers=workers)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    for _ in range(epochs):
        train_one_epoch(model, criterion, optimizer, train_loader)
    return evaluate(model, test_loader)
