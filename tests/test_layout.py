"""Imports run one way, so that each file can be read with those below it in mind alone."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = {"train", "test", "evaluate", "figures"}
LEAVES = {
    "configs", "data.color", "data.edges", "data.places2", "data.demo", "data.ink", "data.shards", "data.profiles",
    "models.devices", "models.hdf5",
}  # fmt: skip
ALLOWED = {
    **{leaf: set() for leaf in LEAVES},
    "utils": {"data.profiles"},
    "data.preprocess": {"data.color", "data.edges"},
    "data.pipeline": {"data.preprocess", "data.places2", "data.shards", "utils"},
    "data.prepare": {"data.pipeline", "data.preprocess", "data.shards", "utils"},
    "models.aciids2020": set(),
    "models.iizuka2016": set(),
    "models.zhang2016": {"data.color"},
    "models.checkpoint": {"utils"},
    "models.callbacks": {"models.checkpoint", "utils"},
    "models.colorizer": {"utils", "data.preprocess"},
    "models.export": {"utils", "data.preprocess"},
    "models.publish": {"utils"},
    "models.training": {"data.preprocess", "models.devices"},
    "models.watch": {"data.preprocess", "models.training", "utils"},
    "models.keras2": {"models.hdf5"},
    "models": {"models.aciids2020", "models.iizuka2016", "models.zhang2016", "models.hdf5", "models.keras2"},
    "data": set(),
    "evaluation": set(),
    "evaluation.metrics": {"data.color"},
    "evaluation.candidates": {"configs", "data.preprocess", "models.aciids2020", "models.colorizer"},
    "evaluation.measure": {
        "utils",
        "data.color",
        "data.pipeline",
        "data.preprocess",
        "evaluation.metrics",
        "evaluation.candidates",
    },
    "evaluation.torchfile": {"models.hdf5"},
    "evaluation.perceptual": {"evaluation.torchfile", "models.hdf5"},
    "evaluation.page": {"data.preprocess"},
    "evaluation.summary": set(),
    "evaluation.variants": {"configs", "utils"},
    "evaluation.report": {"evaluation.metrics", "evaluation.summary"},
}


def modules():
    for path in (path for folder in ("", "data/", "models/", "evaluation/") for path in ROOT.glob(f"{folder}*.py")):
        yield ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), path


def imported(path):
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("name, path", list(modules()))
def test_imports_run_one_way(name, path):
    ours = imported(path) & {module for module, _ in modules()}
    if name in SCRIPTS:
        assert not ours & SCRIPTS
    else:
        assert ours - {"data", "models", "evaluation"} <= ALLOWED[name]
