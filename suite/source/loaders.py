"""Running the files of a source, and telling them from all other modules of a process."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ExtensionFileLoader, ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from driftboard.suite.errors import StrategyError
from driftboard.suite.installed import is_installed
from driftboard.suite.source import File
from driftboard.suite.source.code import source_text


@contextmanager
def only_own_imports() -> Iterator[None]:
    """Refuse what this block imports of a user's code without its being part of a source.

    Raises:
        StrategyError: names the module; it is forgotten.
    """
    before = set(sys.modules)
    yield
    strays = {name: file for name, file in _foreign_modules() if name not in before}
    for name in strays:
        del sys.modules[name]
    for name, file in strays.items():
        raise StrategyError(
            f"{name} of {file} is imported by other means than an import statement, so it is no "
            f"part of the source; write 'import {name}'"
        )


def _foreign_modules() -> Iterator[tuple[str, str]]:
    """Yield name and file of all modules that are neither installed nor of a source."""
    for name, module in list(sys.modules.items()):
        file, loader = getattr(module, "__file__", None), getattr(module, "__loader__", None)
        if file and not isinstance(loader, Own) and not is_installed(name, file):
            yield name, file


class Own:
    """Runs one file of a source from the bytes that were read.

    ``own_builtins`` is what Python's functions see in the module, if not what they see elsewhere.
    """

    def __init__(self, name: str, file: File, own_builtins: dict[str, Any] | None) -> None:
        super().__init__(name, file.path)  # type: ignore[call-arg]
        self._file, self._builtins = file, own_builtins


class OwnText(Own, SourceFileLoader):  # type: ignore[misc]  # as in the standard library
    """Runs Python's text."""

    def get_source(self, fullname: str) -> str:
        return source_text(self._file.content)

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.get_source(fullname), self.path, "exec", dont_inherit=True)

    def exec_module(self, module: ModuleType) -> None:
        if self._builtins is not None:
            vars(module)["__builtins__"] = self._builtins
        super().exec_module(module)


class OwnExtension(Own, ExtensionFileLoader):
    """Loads a compiled module."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        # The system loads it from a file, and the one that was read may have changed.
        with tempfile.TemporaryDirectory(prefix="driftboard-") as folder:
            copy = Path(folder, Path(self._file.path).name)
            copy.write_bytes(self._file.content)
            return super().create_module(ModuleSpec(spec.name, self, origin=str(copy)))
