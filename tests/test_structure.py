"""The rooms of the house: what each may import, found by reading the sources, not running them."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("strategies", "suite", "leaderboard", "baselines")


def module_name(path):
    """Return the name under which a file below the root is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = (
        parts[2:] if parts[:2] == ("suite", "api") else parts
    )  # what ``import driftboard`` gives
    return ".".join(("driftboard", *parts[: -1 if parts[-1] == "__init__" else None]))


FILES = {module_name(path): path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))}


def imported(nodes, name) -> Iterator[str]:
    """Yield the full names that import statements among ``nodes`` bind or load."""
    package = name if FILES[name].name == "__init__.py" else name.rpartition(".")[0]
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*above, *filter(None, [node.module])]) if node.level else node.module
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def every_import(name):
    """Return all that a module imports anywhere: in functions and for type checkers too."""
    return set(imported(ast.walk(ast.parse(FILES[name].read_text())), name))


def run_on_import(node):
    """Yield the statements that run when the module is imported."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield from (other, *run_on_import(other))
            continue
        yield child
        yield from run_on_import(child)


def packages_of(name):
    """Return a module's name and those of the packages whose ``__init__`` runs before it."""
    parts = name.split(".")
    return {".".join(parts[:end]) for end in range(1, len(parts) + 1)}


def loaded_with(name):
    """Return all modules that importing ``name`` loads, as far as our own files decide it."""
    found, waiting = set(), packages_of(name)
    while waiting:
        current = waiting.pop()
        found.add(current)
        if current in FILES:
            tree = ast.parse(FILES[current].read_text())
            for one in imported(run_on_import(tree), current):
                waiting |= packages_of(one) - found
    return found


def room(name):
    """Return the top folder of a module; the public names and ``__main__`` belong to ``api``."""
    found = name.split(".")[1:2]
    return found[0] if found and found[0] in ROOMS else "api"


def modules_of(*rooms):
    return [name for name in FILES if room(name) in rooms]


def ours(names, *rooms):
    return sorted(n for n in names if n.startswith("driftboard.") and room(n) in rooms)


def test_the_files_are_found():
    for name in ("suite.records", "strategies.base", "leaderboard.analysis.collect", "baselines"):
        assert f"driftboard.{name}" in FILES


def test_reading_finds_imports_of_every_form(monkeypatch, tmp_path):
    path = tmp_path / "made_up.py"
    path.write_text(
        "import a.b\nfrom c import d\nfrom . import e\nfrom ..suite import f\n"
        "def g():\n    import h\n"
        "if TYPE_CHECKING:\n    import i\nelse:\n    import j\n"
        "try:\n    import k\nexcept ImportError:\n    import l\n"
        "class M:\n    import n\n    def o(self):\n        import p\n"
    )
    name = "driftboard.leaderboard.made_up"
    monkeypatch.setitem(FILES, name, path)
    places = "driftboard.leaderboard.e", "driftboard.suite.f"
    top = {"a.b", "c.d", *places, "j", "k", "l", "n"}
    assert top | {"h", "i", "p"} <= every_import(name)
    found = set(imported(run_on_import(ast.parse(path.read_text())), name))
    assert top <= found
    assert found.isdisjoint({"h", "i", "p"})
    assert {"a", "a.b"} <= loaded_with(name)


LAYERS = (
    "strategies",
    *("suite.installed", "suite.errors", "suite.patterns", "suite.places", "suite.terminal"),
    *("suite.rng", "suite.metrics", "suite.sealing", "suite.package"),
    *("suite.records", "suite.archive", "suite.protocol", "suite.source"),
    *(
        "suite.data",
        "suite.sequences",
        "suite.training",
        "suite.session",
        "suite.settings",
        "suite.loading",
        "suite.linear",
    ),
    *("suite.runs", "suite.distance", "suite.sweeps", "suite.tuning", "suite.submissions"),
    *("suite.checks", "suite.listing", "suite.sandbox"),
    *("leaderboard.analysis", "leaderboard.formatting"),
    *("leaderboard.column", "leaderboard.columns", "leaderboard.words"),
    *("leaderboard.table", "leaderboard.claim", "leaderboard.render", "leaderboard.build"),
    *("leaderboard.verification", "baselines"),
    "roof",
)
"""From the cellar to the roof: what stands further left knows nothing of what stands right of it.
The roof is ``import driftboard`` and the command line."""


def layer_of(name):
    """Return the layer that a module belongs to, None for the packages that hold layers."""
    if room(name) == "api" or name.startswith("driftboard.suite.cli"):
        return "roof"
    parts = name.split(".")[1:]
    if parts[0] in LAYERS:
        return parts[0]
    return ".".join(parts[:2]) if len(parts) > 1 else None


def arrows():
    """Return every import between modules of ours as pairs of names."""
    names = set(FILES)
    found = {(name, one) for name in names for one in every_import(name) & names if one != name}
    return {(a, b) for a, b in found if layer_of(a) is not None and layer_of(b) is not None}


def test_every_module_has_a_layer():
    assert {layer_of(name) for name in FILES} - {None} == set(LAYERS)
    holders = {f"driftboard.{room}" for room in ("suite", "leaderboard")}
    assert {name for name in FILES if layer_of(name) is None} == holders


def test_no_import_runs_up():
    """So there is no circle between layers, and strategies know nothing of ours."""
    height = {layer: place for place, layer in enumerate(LAYERS)}
    assert sorted((a, b) for a, b in arrows() if height[layer_of(a)] < height[layer_of(b)]) == []
    assert ("driftboard.suite.runs.cells", "driftboard.suite.records") in arrows()


def test_no_modules_import_each_other_in_a_circle():
    from graphlib import CycleError, TopologicalSorter

    graph: dict[str, set[str]] = {name: set() for name in FILES}
    for importer, imported_one in arrows():
        graph[importer].add(imported_one)
    order = list(TopologicalSorter(graph).static_order())
    assert set(order) == set(FILES)
    with pytest.raises(CycleError):  # so the sorter can tell
        list(TopologicalSorter({"a": {"b"}, "b": {"a"}}).static_order())


def test_the_folder_of_the_public_names_has_no_second_name():
    """``suite/api`` is the package ``driftboard``; nobody may look for it below ``suite``."""
    everything = {one for name in FILES for one in every_import(name)}
    assert not any(one.startswith("driftboard.suite.api") for one in everything)


def test_every_folder_with_modules_is_packaged():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {name if path.name == "__init__.py" else name.rpartition(".")[0]
               for name, path in FILES.items()}  # fmt: skip
    assert sorted(settings["packages"]) == sorted(folders)


@pytest.mark.parametrize("name", modules_of("leaderboard"))
def test_leaderboard_knows_of_the_suite_only_what_is_light(name):
    known = ("records", "sealing", "metrics", "errors", "patterns", "places", "terminal")
    known += ("source",)
    known += ("distance.grades", "distance.distance")
    known += ("sweeps", "submissions", "tuning", "protocol", "sequences.registry")
    known += ("sandbox.process", "sequences.task_sequence")
    allowed = tuple(f"driftboard.suite.{module}" for module in known)
    found = ours(every_import(name), "suite", "strategies")
    assert [n for n in found if n != "driftboard.suite" and not n.startswith(allowed)] == []


@pytest.mark.parametrize("name", modules_of("baselines"))
def test_baselines_never_import_torch(name):
    assert not any(n.split(".")[0].startswith("torch") for n in every_import(name))


LIGHT = ["records", "metrics", "protocol", "sequences.task_sequence", "sequences.registry"]
LIGHT += [
    "sequences.scenarios",
    "sequences.network",
    "errors",
    "distance.grades",
    "distance.distance",
]
LIGHT += ["sweeps", "tuning", "submissions", "rng", "sealing", "patterns", "places", "terminal"]
LIGHT += ["installed", "source.modules"]
LIGHT += [f"runs.{name}" for name in ("backend", "scheduler", "local", "ray_executor")]
LIGHT += [name.removeprefix("driftboard.suite.") for name in FILES if ".suite.cli" in name]


@pytest.mark.parametrize(
    "name",
    [*modules_of("leaderboard", "baselines", "api"), *(f"driftboard.suite.{n}" for n in LIGHT)],
)
def test_importing_does_not_load_torch(name):
    """Neither at the top of the module nor by way of another module of ours."""
    heavy = {"torch", "torchvision", "timm", "continuum"}
    assert heavy & loaded_with(name) == set()


def test_importing_the_engine_does_load_torch():
    """So the test above can tell."""
    assert "torch" in loaded_with("driftboard.suite.runs.cells")
    assert "torch" in loaded_with("driftboard.strategies.catalogue")
