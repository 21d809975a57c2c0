"""A Dataset over an HDF5 file, which each worker opens for itself."""

import h5py
import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2


def write(folder, path):
    samples = ImageFolder(folder).samples
    with h5py.File(path, "w") as file:
        file["images"] = np.stack(
            [np.asarray(Image.open(p).convert("RGB").resize((48, 48))) for p, _ in samples]
        )
        file["labels"] = [label for _, label in samples]


class Stored(Dataset):
    def __init__(self, path, transform):
        self.path, self.transform, self.file = path, transform, None
        with h5py.File(path) as file:
            self.n = len(file["labels"])

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        if self.file is None:
            self.file = h5py.File(self.path)
        image = torch.from_numpy(self.file["images"][i]).permute(2, 0, 1)
        return self.transform(image), int(self.file["labels"][i])


def main(folder, model, epochs=1, workers=0):
    for split in ("train", "val"):
        write(f"{folder}/{split}", f"{folder}/{split}.h5")
    end = [v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.25] * 3)]
    train = v2.Compose([v2.RandomResizedCrop(32, (0.4, 1), antialias=True), v2.RandomHorizontalFlip(), *end])
    test = v2.Compose([v2.Resize((32, 32), antialias=True), *end])
    loader = DataLoader(
        Stored(f"{folder}/train.h5", train), 16, shuffle=True, num_workers=workers, drop_last=True
    )
    check = DataLoader(Stored(f"{folder}/val.h5", test), 16, num_workers=workers)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    for _ in range(epochs):
        model.train()
        for images, labels in loader:
            loss = torch.nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        return (
            torch.cat([(model(images).argmax(1) == labels).float() for images, labels in check]).mean().item()
        )
