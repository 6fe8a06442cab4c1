"""The modules of a user's source: found beside its main file, read once, and run apart from others.

A user's file may import what lies beside it, as a script may, and every source has its own modules:
two of them may each have a ``helpers.py``. They run under names of their own, below a package for
each source, where the statement ``import helpers`` finds them, also when a hook comes to it later.
``sys.path`` and the modules of others stay as they are.

What runs is what was read: the bytes of each file are read once, and these are compiled, hashed and
sent to worker processes, which read no file. Nothing here imports torch.
"""

import builtins
import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.abc import MetaPathFinder
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
)
from pathlib import Path
from types import ModuleType
from typing import Any

from driftboard.suite.installed import SHARED, is_installed
from driftboard.suite.source import SUFFIX, File, Source
from driftboard.suite.source.code import imports_of
from driftboard.suite.source.loaders import Own, OwnExtension, OwnText, only_own_imports

PREFIX = "driftboard_source_"
INIT = f"__init__{SUFFIX}"
_PREFIXED = re.compile(rf"{PREFIX}[0-9a-f]+\.?")


@dataclass
class OwnModules:
    """The modules of one source, by their names relative to its folder; "" is the folder itself.

    Args:
        main: the module of the file that was asked for.
        files: what has been read, by module.
        places: where the modules of a package are looked for, by package.
        package: the name of the folder, if that is a package: by it, too, its modules may be named.
        prefix: the name of the folder among all modules of this process; without one, the modules
            have their own names.
        is_open: whether what is asked for is looked for and read; else all has been.
    """

    main: str = ""
    files: dict[str, File] = field(default_factory=dict)
    places: dict[str, list[str]] = field(default_factory=dict)
    package: str = ""
    prefix: str = ""
    is_open: bool = True

    @classmethod
    def at(cls, path: Path) -> "OwnModules":
        """Read a Python file, or a folder that is a package, and all that it imports.

        Raises:
            OSError: a file cannot be read.
        """
        importlib.invalidate_caches()
        path = path.absolute() if path.name.strip(".") else path.resolve()
        path = path / INIT if path.is_dir() else path
        beside = dict.fromkeys([str(path.parent), str(path.resolve().parent)])  # if it is a link
        own = cls(module_of(path.name), places={"": list(beside)})
        own.package = path.parent.name if (path.parent / INIT).is_file() else ""
        own._read(own.main, path)
        own.prefix = _prefix(own.source)
        return own

    @classmethod
    def of(cls, source: Source) -> "OwnModules":
        """Return the modules of a source that was read before, here or elsewhere."""
        files = {module_of(file.name): file for file in source.files}
        packages = {name.rpartition(".")[0] for name in files}
        packages |= {module_of(file.name) for file in source.files if _is_init(file)}
        for name in list(packages):
            while name := name.rpartition(".")[0]:
                packages.add(name)
        places: dict[str, list[str]] = {name: [] for name in packages | {""}}
        own = cls(module_of(source.main), files, places, is_open=False)
        own.package = Path(files[""].path).parent.name if "" in files else ""
        own.prefix = _prefix(source) if source.main else ""
        return own

    @property
    def source(self) -> Source:
        """All that has been read."""
        main = self.files[self.main].name if self.main in self.files else ""
        return Source(tuple(sorted(self.files.values(), key=lambda file: file.name)), main)

    def run(self) -> ModuleType:
        """Run all modules anew and return that of the main file.

        Raises:
            StrategyError: a module is imported such that it is no part of the source.
            Exception: whatever a file raises.
        """
        self._forget()
        _RUNNING[self.prefix] = self
        path = list(sys.path)
        try:
            with only_own_imports():
                main = importlib.import_module(self._full(self.main))
            self._read_rest()
        except BaseException as error:
            self._forget()
            if isinstance(error, ImportError):
                self._explain(error)
            raise
        finally:
            sys.path[:] = path
        self.is_open = False
        return main

    def _forget(self) -> None:
        for name in list(sys.modules):
            if name == self.prefix or name.startswith(f"{self.prefix}."):
                del sys.modules[name]

    def _explain(self, error: ImportError) -> None:
        """Name modules as the user does, and say how one that is there can be imported."""
        error.msg = _PREFIXED.sub("", str(error))
        if isinstance(error, ModuleNotFoundError) and error.name and self.own_name(error.name):
            error.msg += f"; write 'import {error.name}', which finds what lies beside the file"

    # Finding and reading.

    def own_name(self, name: str) -> str | None:
        """Return which of these modules ``import name`` means, None if it is another's."""
        top, _, rest = name.partition(".")
        if top in SHARED:
            return None
        if top == self.package and (self.main == "" or not self.find(top)):
            return rest if self.find(rest) else None
        return name if self.find(top) else None

    def find(self, module: str) -> bool:
        """Tell whether there is such a module; read it if that has not been done."""
        if module == "" and self.package and self.is_open and "" not in self.files:
            self._read("", Path(self.places[""][0], INIT))
        if module in self.files or module in self.places:
            return True
        above, _, name = module.rpartition(".")
        if not self.is_open or (above and not self.find(above)):
            return False
        spec = self._beside(above, name) if above else self._at_top(name)
        if spec is None:
            return False
        if spec.submodule_search_locations is not None:
            self.places[module] = list(spec.submodule_search_locations)
        if spec.origin is not None and spec.loader is not None:
            self._read(module, Path(spec.origin))
        return True

    def _beside(self, package: str, name: str) -> ModuleSpec | None:
        """Return where a module of a package lies; a folder without ``__init__.py`` comes last."""
        namespace = None
        for place in self.places.get(package, ()):
            spec = FileFinder(place, *_KINDS).find_spec(name)
            if spec is not None and spec.loader is not None:
                return spec
            namespace = namespace or spec
        return namespace

    def _at_top(self, name: str) -> ModuleSpec | None:
        spec = self._beside("", name)
        if spec is not None and spec.loader is not None:
            return spec
        elsewhere = _spec_of(name)
        if elsewhere is None:
            return spec
        return elsewhere if _is_users(elsewhere) else None

    def _read(self, module: str, path: Path) -> None:
        """Read a file and what it imports."""
        parts = [part for part in module.split(".") if part]
        folders = parts if module in self.places else parts[:-1]
        self.files[module] = File("/".join([*folders, path.name]), str(path), path.read_bytes())
        self._read_imports(module)

    def _read_rest(self) -> None:
        """Read what hooks import later, which may lie where the code has just extended the path."""
        read = 0
        while read < len(self.files):
            read = len(self.files)
            for module in list(self.files):
                self._read_imports(module)

    def _read_imports(self, module: str) -> None:
        if not self.is_open or not self.files[module].name.endswith(SUFFIX):
            return
        package = module if module in self.places else module.rpartition(".")[0]
        for name, members, level in imports_of(self.files[module].content):
            imported = _absolute(package, name, level) if level else self.own_name(name)
            if imported is None or not self.find(imported):
                continue
            for member in members:
                self.find(f"{imported}.{member}".removeprefix("."))

    # Running.

    def spec(self, module: str) -> ModuleSpec:
        """Return how a module is run.

        Raises:
            ModuleNotFoundError: there is none.
        """
        name = self._full(module)
        if module and not self.find(module):  # the folder itself is there, with a file or without
            raise ModuleNotFoundError(f"No module named '{module}'", name=name)
        file, is_package = self.files.get(module), module in self.places
        if file is None:
            return ModuleSpec(name, None, is_package=True)
        own = OwnText if file.name.endswith(SUFFIX) else OwnExtension
        loader = own(name, file, self._builtins() if self.prefix else None)
        found = importlib.util.spec_from_file_location(name, file.path, loader=loader)
        assert found is not None
        found.submodule_search_locations = [] if is_package else None  # no folder is looked into
        return found

    def _full(self, module: str) -> str:
        return f"{self.prefix}.{module}".strip(".")

    def _builtins(self) -> dict[str, Any]:
        """Return what Python's functions see in these modules: an import looks here first."""
        return {**vars(builtins), "__import__": self._import}

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002
        locals: Mapping[str, Any] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """Do what ``builtins.__import__`` does, for names relative to the folder too."""
        own = self.own_name(name) if level == 0 else None
        if own is None:
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        full = self._full(own)
        module = builtins.__import__(full, globals, locals, fromlist or (), 0)
        # `import a.b` binds a.
        return module if fromlist else sys.modules[full.rsplit(".", name.count("."))[0]]


def module_of(name: str) -> str:
    """Return the module that a file of a source is, by its name with ``/``.

    >>> module_of("lib/__init__.py"), module_of("lib/fast.cpython-311.so"), module_of("v1.2.py")
    ('lib', 'lib.fast', 'v1-2')
    """
    *folders, last = name.split("/")
    is_text = last.endswith(SUFFIX)
    stem = last.removesuffix(SUFFIX).replace(".", "-") if is_text else last.partition(".")[0]
    return ".".join(folders if stem == "__init__" else [*folders, stem])


def _is_init(file: File) -> bool:
    return file.name.rpartition("/")[2].partition(".")[0] == "__init__"


def _prefix(source: Source) -> str:
    return PREFIX + hashlib.sha256(f"{source.path}\0{source.digest}".encode()).hexdigest()[:16]


_KINDS = ((ExtensionFileLoader, EXTENSION_SUFFIXES), (SourceFileLoader, [SUFFIX]))


def _spec_of(name: str) -> ModuleSpec | None:
    """Return where Python itself finds a module at the top, None if nowhere."""
    if name in sys.modules:
        spec = None if name == "__main__" else getattr(sys.modules[name], "__spec__", None)
        return spec if isinstance(spec, ModuleSpec) else None
    others = (finder for finder in sys.meta_path if not isinstance(finder, _Finder))
    return next(filter(None, (finder.find_spec(name, None) for finder in others)), None)


def _is_users(spec: ModuleSpec) -> bool:
    """Tell whether a module is of files that belong to no installed package."""
    if spec.origin is not None and spec.loader is not None:
        readable = spec.has_location and spec.origin.endswith((SUFFIX, *EXTENSION_SUFFIXES))
        return readable and Path(spec.origin).is_file() and not is_installed(spec.name, spec.origin)
    places = spec.submodule_search_locations or []
    return bool(places) and not any(is_installed(spec.name, place) for place in places)


def _absolute(package: str, name: str, level: int) -> str | None:
    """Return which module a relative import means, None if it leads out of the folder."""
    above = package.split(".") if package else []
    if level - 1 > len(above):
        return None
    return ".".join([*above[: len(above) - level + 1], *filter(None, [name])])


def running_with(module: ModuleType) -> list[ModuleType]:
    """Return the modules of a source that have run, by one of them; another one stands alone."""
    prefix = module.__name__.partition(".")[0]
    if not prefix.startswith(PREFIX):
        return [module]
    running = sorted(name for name in sys.modules if name.partition(".")[0] == prefix)
    return [sys.modules[name] for name in running]


_RUNNING: dict[str, OwnModules] = {}
"""The sources that run in this process by prefix; under "" that of a Python session."""


class _Finder(MetaPathFinder):
    """Finds the modules of all sources, by their names in this process."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        first, _, rest = fullname.partition(".")
        if first in _RUNNING:
            return _RUNNING[first].spec(rest)
        session = _RUNNING.get("")
        return session.spec(fullname) if session and session.find(fullname) else None


sys.meta_path.insert(0, _Finder())


def serve(source: Source) -> None:
    """Let this process import the modules of a Python session's source by their own names.

    Those of the last one are forgotten. What is imported already, such as in the process of the
    session itself, stays.
    """
    last = _RUNNING.get("", OwnModules())
    for name in {*last.files, *last.places}:
        if isinstance(getattr(sys.modules.get(name), "__loader__", None), Own):
            del sys.modules[name]
    _RUNNING[""] = OwnModules.of(source)
