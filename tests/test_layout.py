"""Imports run one way, so that each file can be read with those below it in mind alone."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

from models import NETWORKS

ROOT = Path(__file__).parent.parent
LAYERS = [{"configs", "utils"}, {"pictures"}, {"data"}, {"models"}, {"training", "inference"}]
LAYERS += [{"colorizer"}, {"evaluation"}]


def modules():
    """{module's name: its file} of everything outside tests and benchmarks."""
    paths = [
        *ROOT.glob("*.py"),
        *(path for layer in LAYERS[1:] for room in layer for path in (ROOT / room).glob("*.py")),
    ]
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in paths
    }


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


def level(name):
    room = name.partition(".")[0]
    return next((i for i, layer in enumerate(LAYERS) if room in layer), len(LAYERS))


def test_imports_run_one_way():
    found = modules()
    graph = {name: imported(path, set(found)) for name, path in found.items()}
    list(TopologicalSorter(graph).static_order())  # raises where modules import each other
    for name, others in graph.items():
        for other in others:
            same_room = name.partition(".")[0] == other.partition(".")[0] and level(name) < len(
                LAYERS
            )
            assert (
                level(other) < level(name) or same_room or {name, other} == {"configs", "utils"}
            ), (name, other)


def test_generic_files_name_no_network():
    """What is a fact of one network stands in its module; the figures compare the networks by name."""
    known = set(NETWORKS) | {
        layer for module in NETWORKS.values() for layer in module.BRANCHES.values()
    }
    special = {"configs", "models.keras2", "evaluation.paper_figures", "figures"}
    for name, path in modules().items():
        if name not in special and not name.startswith("models"):
            assert not [word for word in known if word in path.read_text()], name
