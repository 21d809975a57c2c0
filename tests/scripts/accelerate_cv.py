"""In the shape of Accelerate's cv_example: labels from file names, a Dataset of one's own, prepare()."""

import glob
import os

import torch
from accelerate import Accelerator
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import Compose, RandomResizedCrop, Resize, ToTensor


class PetsDataset(Dataset):
    def __init__(self, file_names, image_transform=None, label_to_id=None):
        self.file_names, self.image_transform, self.label_to_id = file_names, image_transform, label_to_id

    def __len__(self):
        return len(self.file_names)

    def __getitem__(self, idx):
        fname = self.file_names[idx]
        image = Image.open(fname).convert("RGB")
        if self.image_transform is not None:
            image = self.image_transform(image)
        label = os.path.basename(os.path.dirname(fname))
        if self.label_to_id is not None:
            label = self.label_to_id[label]
        return {"image": image, "label": label}


def main(folder, model, epochs=1, workers=0):
    accelerator = Accelerator(cpu=True)
    train_names, eval_names = (sorted(glob.glob(f"{folder}/{split}/*/*")) for split in ("train", "val"))
    labels = sorted({os.path.basename(os.path.dirname(name)) for name in train_names})
    label_to_id = {label: k for k, label in enumerate(labels)}
    train_tfm = Compose([RandomResizedCrop(32, scale=(0.5, 1.0)), ToTensor()])
    train_dataset = PetsDataset(train_names, image_transform=train_tfm, label_to_id=label_to_id)
    eval_tfm = Compose([Resize((32, 32)), ToTensor()])
    eval_dataset = PetsDataset(eval_names, image_transform=eval_tfm, label_to_id=label_to_id)
    train_dataloader = DataLoader(train_dataset, shuffle=True, batch_size=16, num_workers=workers)
    eval_dataloader = DataLoader(eval_dataset, shuffle=False, batch_size=16, num_workers=workers)
    optimizer = torch.optim.Adam(params=model.parameters(), lr=3e-3)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 3e-3, epochs=epochs, steps_per_epoch=len(train_dataloader)
    )
    model, optimizer, train_dataloader, eval_dataloader, scheduler = accelerator.prepare(
        model, optimizer, train_dataloader, eval_dataloader, scheduler
    )
    for _ in range(epochs):
        model.train()
        for batch in train_dataloader:
            batch = {k: v.to(accelerator.device) for k, v in batch.items()}
            outputs = model(batch["image"])
            loss = torch.nn.functional.cross_entropy(outputs, batch["label"])
            accelerator.backward(loss)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
    model.eval()
    accurate, num_elems = 0, 0
    for batch in eval_dataloader:
        with torch.no_grad():
            predictions = model(batch["image"]).argmax(dim=-1)
        predictions, references = accelerator.gather_for_metrics((predictions, batch["label"]))
        accurate, num_elems = accurate + (predictions == references).sum().item(), num_elems + len(references)
    return accurate / num_elems
