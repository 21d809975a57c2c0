"""FFCV, from a .beton file of the same JPEGs, with the decoders and transforms of its ImageNet example."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torchvision.datasets import ImageFolder
from workloads import MEAN, STD, Job, Unsupported

TITLE = "FFCV"


def packed(job: Job) -> Path:
    """The data set in FFCV's format, the JPEGs' own bytes inside, written once beside the folder."""
    from ffcv.fields import IntField, RGBImageField
    from ffcv.writer import DatasetWriter
    from PIL import Image

    samples = ImageFolder(job.data).samples

    def encode(self, destination, path, malloc):  # in place of decoding and encoding again
        data = np.fromfile(path, np.uint8)
        destination["mode"] = 0  # jpg
        destination["width"], destination["height"] = Image.open(path).size
        destination["data_ptr"], storage = malloc(data.nbytes)
        storage[:] = data

    file = job.data.parent / f"{job.data.name}.beton"
    if not file.exists():
        RGBImageField.encode = encode
        fields = {"image": RGBImageField(write_mode="jpg"), "label": IntField()}
        DatasetWriter(str(file), fields, num_workers=1).from_indexed_dataset(samples)
    return file


def make(job: Job):
    """ffcv.Loader; masks, mixing and policies are not among its transforms as the workloads mean them."""
    if job.workload not in ("crop", "eval") or job.device != "cpu":
        raise Unsupported("has no such augmentation for whole workloads")
    try:
        from ffcv.fields.decoders import IntDecoder
        from ffcv.fields.rgb_image import CenterCropRGBImageDecoder, RandomResizedCropRGBImageDecoder
        from ffcv.loader import Loader, OrderOption
        from ffcv.transforms import NormalizeImage, RandomHorizontalFlip, ToTensor, ToTorchImage
    except ImportError as error:
        raise Unsupported("FFCV is not installed") from error
    normalise = NormalizeImage(255 * np.array(MEAN), 255 * np.array(STD), np.float32)
    if job.workload == "eval":
        steps = [CenterCropRGBImageDecoder((224, 224), 224 / 256)]
    else:
        steps = [RandomResizedCropRGBImageDecoder((224, 224)), RandomHorizontalFlip()]
    order = OrderOption.SEQUENTIAL if job.workload == "eval" else OrderOption.QUASI_RANDOM
    image = [*steps, normalise, ToTensor(), ToTorchImage()]
    pipelines = {"image": image, "label": [IntDecoder(), ToTensor()]}
    return Loader(
        str(packed(job)),
        batch_size=job.batch,
        num_workers=job.threads,
        order=order,
        os_cache=True,
        drop_last=False,
        pipelines=pipelines,
    )
