"""DALI's own pipeline for ResNet-50 from its documentation, with nvidia.dali.plugin.pytorch."""

from __future__ import annotations

from nvidia.dali import fn, pipeline_def, types
from nvidia.dali.auto_aug import rand_augment
from nvidia.dali.plugin.pytorch import DALIClassificationIterator, LastBatchPolicy
from workloads import MEAN, STD, Job

TITLE = "DALI"
SCALE = [255 * s for s in STD]
SHIFT = [255 * m for m in MEAN]


def settings(job: Job) -> dict[str, object]:
    """Of a pipeline that prefetches."""
    device = None if job.device == "cpu" else 0
    common = dict(prefetch_queue_depth=2, seed=1)
    return dict(batch_size=job.batch, num_threads=job.threads, device_id=device, **common)


def images(job: Job, files):
    """Decoded and scaled uint8 HWC images, on the CPU or by nvJPEG."""
    device = "mixed" if job.device != "cpu" else "cpu"
    if job.workload == "eval":
        decoded = fn.decoders.image(files, device=device, output_type=types.RGB)
        return fn.resize(decoded, resize_shorter=256, interp_type=types.INTERP_TRIANGULAR)
    decoded = fn.decoders.image_random_crop(
        files,
        device=device,
        output_type=types.RGB,
        random_aspect_ratio=[3 / 4, 4 / 3],
        random_area=[0.08, 1.0],
        num_attempts=100,
    )
    return fn.resize(decoded, resize_x=224, resize_y=224, interp_type=types.INTERP_TRIANGULAR)


def reader(job: Job):
    """Encoded files and labels."""
    return fn.readers.file(file_root=str(job.data), random_shuffle=job.workload != "eval", name="Reader")


def mixed(pictures):
    """Erasing and MixUp, as far as DALI's operators go; labels are left to the training loop."""
    anchor, shape = (
        fn.random.uniform(range=[0, 0.7], shape=(2,)),
        fn.random.uniform(range=[0.1, 0.4], shape=(2,)),
    )
    erased = fn.erase(pictures, anchor=anchor, shape=shape, axis_names="HW", normalized=True, fill_value=0)
    other = fn.permute_batch(erased, indices=fn.batch_permutation())
    lam = fn.random.beta(alpha=0.2, beta=0.2)
    return lam * erased + (1.0 - lam) * other


def make(job: Job):
    """A DALIClassificationIterator."""

    @pipeline_def(**settings(job), enable_conditionals=True)
    def pipeline():
        files, labels = reader(job)
        pictures = images(job, files)
        train = job.workload != "eval"
        if job.workload == "randaugment":
            pictures = rand_augment.rand_augment(pictures, n=2, m=9, shape=[224, 224])
        mirror = fn.random.coin_flip(probability=0.5) if train else 0
        out = fn.crop_mirror_normalize(
            pictures,
            dtype=types.FLOAT,
            output_layout="CHW",
            crop=(224, 224),
            mean=SHIFT,
            std=SCALE,
            mirror=mirror,
        )
        return (mixed(out) if job.workload == "mixed" else out), labels

    pipe = pipeline()
    pipe.build()
    iterator = DALIClassificationIterator(
        pipe, reader_name="Reader", auto_reset=True, last_batch_policy=LastBatchPolicy.PARTIAL
    )

    class Epochs:
        def __iter__(self):
            for batch in iterator:
                yield batch[0]["data"], batch[0]["label"]

    return Epochs()
