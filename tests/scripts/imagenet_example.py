"""In the shape of pytorch/examples' ImageNet training: v1 transforms, a sampler, pinned memory, top-1."""

import torch
import torchvision.transforms as transforms
from torch import nn
from torch.utils.data import DataLoader, RandomSampler
from torchvision import datasets


def main(folder, model, epochs=1, workers=0):
    normalize = transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
    train_dataset = datasets.ImageFolder(
        f"{folder}/train",
        transforms.Compose(
            [
                transforms.RandomResizedCrop(32),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                normalize,
            ]
        ),
    )
    val_dataset = datasets.ImageFolder(
        f"{folder}/val",
        transforms.Compose(
            [transforms.Resize(36), transforms.CenterCrop(32), transforms.ToTensor(), normalize]
        ),
    )
    sampler = RandomSampler(train_dataset)
    train_loader = DataLoader(
        train_dataset, batch_size=16, num_workers=workers, pin_memory=False, sampler=sampler
    )
    val_loader = DataLoader(val_dataset, batch_size=16, shuffle=False, num_workers=workers)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    for _ in range(epochs):
        model.train()
        for i, (images, target) in enumerate(train_loader):
            assert i < len(train_loader)
            loss = criterion(model(images), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    model.eval()
    correct = 0
    with torch.no_grad():
        for images, target in val_loader:
            _, pred = model(images).topk(1, 1)
            correct += pred.t().eq(target.view(1, -1)).sum().item()
    return correct / len(val_loader.dataset)
