"""In the shape of Hugging Face's image classification: a Dataset with_transform, and the Trainer."""

import tempfile

import torch
from datasets import load_dataset
from torchvision.transforms import v2
from transformers import Trainer, TrainingArguments


class Classifier(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, pixel_values, labels=None):
        logits = self.network(pixel_values)
        return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}


def main(folder, model, epochs=1, workers=0):
    crop = v2.Compose(
        [v2.RandomResizedCrop(32, (0.4, 1)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    )

    def transform(examples):
        return {"pixel_values": [crop(image) for image in examples["image"]], "labels": examples["label"]}

    data = load_dataset("imagefolder", data_dir=f"{folder}/train", split="train").with_transform(transform)
    arguments = TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=16,
        num_train_epochs=epochs,
        learning_rate=0.01,
        dataloader_num_workers=workers,
        remove_unused_columns=False,
        report_to=[],
        use_cpu=True,
        save_strategy="no",
        disable_tqdm=True,
    )
    trainer = Trainer(Classifier(model), arguments, train_dataset=data)
    result = trainer.train()
    return float(result.training_loss < 2)
