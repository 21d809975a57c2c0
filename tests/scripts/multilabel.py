"""Several labels an image: multi-hot targets, BCE."""

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2


class Tags(Dataset):
    def __init__(self, folder, transform):
        self.samples, self.transform = ImageFolder(folder).samples, transform

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, i):
        path, label = self.samples[i]
        tags = torch.zeros(4)
        tags[[label, (label + 1) % 4]] = 1
        return self.transform(Image.open(path).convert("RGB")), tags


def main(folder, model, epochs=1, workers=0):
    train = v2.Compose(
        [v2.RandomResizedCrop(32, (0.5, 1)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    )
    test = v2.Compose([v2.Resize((32, 32)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    loader = DataLoader(Tags(f"{folder}/train", train), 16, shuffle=True, num_workers=workers, drop_last=True)
    check = DataLoader(Tags(f"{folder}/val", test), 16, num_workers=workers)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(epochs):
        for images, tags in loader:
            loss = torch.nn.functional.binary_cross_entropy_with_logits(model(images), tags)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        return (
            torch.cat([((model(images) > 0) == (tags > 0)).float() for images, tags in check]).mean().item()
        )
