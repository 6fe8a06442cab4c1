"""Downloads by torchvision, which is imported only when one is asked for."""

from pathlib import Path


def download(class_name: str, folder: Path) -> None:
    """Download the data set of torchvision's class ``class_name`` into ``folder``."""
    from torchvision import datasets

    getattr(datasets, class_name)(folder, download=True)
