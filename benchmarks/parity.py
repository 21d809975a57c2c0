"""A trained network's accuracy on images from fastaug and from torch's DataLoader with Pillow.

    python benchmarks/parity.py PHOTOS --weights FILE

PHOTOS has a folder for each class; where their names are ImageNet's (n01440764 or such), top-1 accuracy is
printed for both, and in any case on how many images the predictions differ. Both decode, resize the shorter
side to 256, crop the centre and normalise.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable

import torch
from timm.data import ImageNetInfo
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

import fastaug
from fastaug.train.networks import input_statistics, make_network, read_state


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("photos")
    parser.add_argument("--weights", required=True, help="a file; names may be another library's, in order")
    parser.add_argument("--model", default="tf_efficientnet_lite0")
    parser.add_argument("--size", type=int, default=224)
    args = parser.parse_args()
    network = make_network(args.model, 1000).eval()
    state = read_state(args.weights)
    network.load_state_dict(dict(zip(network.state_dict(), state.values(), strict=True)))
    mean, std = input_statistics(network) or (fastaug.IMAGENET_MEAN, fastaug.IMAGENET_STD)
    transform = transforms.Compose(
        [
            transforms.Resize(round(args.size * 256 / 224)),
            transforms.CenterCrop(args.size),
            transforms.ToTensor(),
            transforms.Normalize(mean, std),
        ]
    )
    photos = ImageFolder(args.photos, transform)
    theirs, labels = predictions(network, DataLoader(photos, 32))
    with fastaug.loader(photos, 32, num_workers=2, device="cpu") as loader:
        ours, _ = predictions(network, loader)
    with fastaug.loader(
        photos, 32, num_workers=2, device="cpu", decode=fastaug.Decode(scaled=True)
    ) as loader:
        scaled, _ = predictions(network, loader)
    changed = (ours != theirs).sum().item()
    print(f"{len(photos)} images: {changed} predictions differ ({changed / len(photos):.2%})")
    known = ImageNetInfo("imagenet-1k").label_names()
    if set(photos.classes) <= set(known):
        truth = torch.tensor([known.index(name) for name in photos.classes])[labels]
        for name, found in (
            ("fastaug", ours),
            ("torchvision, Pillow", theirs),
            ("fastaug, scaled=True", scaled),
        ):
            print(f"{name:20} top-1 {(found == truth).float().mean():.2%}")


@torch.inference_mode()
def predictions(network: torch.nn.Module, batches: Iterable) -> tuple[torch.Tensor, torch.Tensor]:
    """The best class of each image, and the labels."""
    found = [(network(images).argmax(1), labels) for images, labels in batches]
    return torch.cat([best for best, _ in found]), torch.cat([labels for _, labels in found])


if __name__ == "__main__":
    main()
