"""The study of a pretrained network: tensors matched by order, images of the chosen classes."""

import io
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from pretrained import FOLDER, renamed, write_images


def test_tensors_take_the_names_of_those_at_their_place():
    given = {"a": torch.ones(2, 3), "b": torch.zeros(4)}
    wanted = {"x.weight": torch.empty(2, 3), "x.bias": torch.empty(4)}
    found = renamed(given, wanted)
    assert list(found) == ["x.weight", "x.bias"]
    assert torch.equal(found["x.weight"], given["a"])
    with pytest.raises(ValueError, match=r"b is \(4,\), x.bias \(5,\)"):
        renamed(given, wanted | {"x.bias": torch.empty(5)})
    with pytest.raises(ValueError, match="shorter"):
        renamed({"a": given["a"]}, wanted)


def test_every_tenth_class_is_written_by_its_own_images(tmp_path):
    """Each image has the number of its class as its colour."""
    classes = [f"n{number:02}" for number in range(20)]
    with tarfile.open(tmp_path / "a.tar", "w") as tar:

        def add(name, content):
            member = tarfile.TarInfo(f"tiny/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))

        rows = []
        for number, wnid in enumerate(classes):
            file = io.BytesIO()
            Image.fromarray(np.full((4, 4), 10 * number, np.uint8)).save(file, "PNG")
            add(f"train/{wnid}/images/{wnid}_0.JPEG", file.getvalue())
            add(f"val/images/val_{number}.JPEG", file.getvalue())
            rows.append(f"val_{number}.JPEG\t{wnid}\t0\t0\t3\t3")
        add("wnids.txt", "\n".join(reversed(classes)).encode())
        add("val/val_annotations.txt", "\n".join(rows).encode())
    write_images(tmp_path / "a.tar", tmp_path)
    paths = sorted((tmp_path / FOLDER).rglob("*.png"))
    names = [path.relative_to(tmp_path / FOLDER).as_posix() for path in paths]
    assert names == [
        "test/n00/val_0.png",
        "test/n10/val_10.png",
        "train/n00/n00_0.png",
        "train/n10/n10_0.png",
    ]
    for path in paths:
        with Image.open(path) as image:
            assert np.asarray(image).tolist() == [[[10 * int(path.parent.name[1:])] * 3] * 4] * 4
