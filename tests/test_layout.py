"""Imports run one way, so that each file can be read with those below it in mind alone."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parent.parent
LAYERS = (
    {"configs", "utils"},
    {"pictures", "data"},
    {"models"},
    {"training", "inference"},
    {"evaluation"},
    {"benchmarks", "bench", *(path.stem for path in ROOT.glob("*.py"))} - {"configs", "utils"},
)
BESIDE = {("data", "pictures"), ("configs", "utils"), ("benchmarks", "benchmarks")}
BESIDE |= {(script, "colorizer") for script in LAYERS[-1]}  # the public API, which all may use


def modules():
    """{module's name: its file} of everything outside tests."""
    rooms = {path.parent for path in ROOT.glob("*/*.py")} - {ROOT / "tests"}
    paths = [*ROOT.glob("*.py"), *(path for room in rooms for path in room.rglob("*.py"))]
    names = (".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths)
    return {n.removesuffix(".__init__"): p for n, p in zip(names, paths) if n[0] != "."}


def imported(path, known):
    """The modules of the project that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            inner = {f"{node.module}.{alias.name}" for alias in node.names} & known
            names |= inner or {node.module}
    return names & known


def room_of(name):
    return name.partition(".")[0]


def level(name):
    (found,) = (i for i, layer in enumerate(LAYERS) if room_of(name) in layer)
    return found


def test_imports_run_one_way():
    found = modules()
    graph = {name: imported(path, set(found)) for name, path in found.items()}
    list(TopologicalSorter(graph).static_order())  # raises where modules import each other
    assert len(found) > 40 and sum(map(len, graph.values())) > 100
    for name, others in graph.items():
        for other in others:
            rooms = room_of(name), room_of(other)
            same = rooms[0] == rooms[1] and level(name) < len(LAYERS) - 1
            assert level(other) < level(name) or same or rooms in BESIDE, (name, other)
