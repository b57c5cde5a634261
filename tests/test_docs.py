"""The pages: links lead somewhere, commands and options are those of the programs, the walks name what there is."""

import argparse
import functools
import importlib
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import configs
from figures import USED

ROOT = Path(__file__).parent.parent
OURS = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
PAGES = [*OURS, ROOT / "benchmarks/README.md", ROOT / "models/pretrained/README.md"]
SCRIPTS = ("train.py", "test.py", "evaluate.py", "app.py", "figures.py")
MODULES = (
    "data.prepare",
    "data.gray",
    "inference.publish",
    "inference.export",
    "evaluation.statistics",
)
FENCE = re.compile(r"^ *```[^\n]*\n(.*?)^ *```$", re.M | re.S)


class Parsed(Exception):
    """Raised in place of the work of a program whose options were accepted; holds them."""


def parsed(program, arguments):
    """The options that a program makes of its arguments, by its own parser. AssertionError with its words if it refuses."""
    parse, refuse = argparse.ArgumentParser.parse_args, argparse.ArgumentParser.error

    def stop_after_parsing(self, *given):
        raise Parsed(parse(self, *given))

    def fail(self, message):
        raise AssertionError(f"{program} {shlex.join(arguments)}: {message}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", stop_after_parsing)
        patch.setattr(argparse.ArgumentParser, "error", fail)
        patch.setattr(sys, "argv", [program, *arguments])
        with pytest.raises(Parsed) as found:
            if program.endswith(".py"):
                runpy.run_path(str(ROOT / program), run_name="__main__")
            else:
                runpy.run_module(program, run_name="__main__")
    assert argparse.ArgumentParser.error is refuse
    return found.value.args[0]


def commands(text):
    """(program, arguments) of every line in a fenced block that calls a program of ours."""
    for block in FENCE.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            called = next(
                (words[i + 1 :] for i, word in enumerate(words) if word.endswith("python")), []
            )
            called = called[called[:1] == ["-m"] :]
            if called and (called[0] in SCRIPTS or called[0].startswith(("data.", "inference."))):
                yield called[0], called[1:]


def check(program, arguments):
    """Assert that a program accepts its arguments, and train.py the configuration that they give."""
    options = parsed(program, arguments)
    if program == "train.py":
        values = {
            name: value for name, value in configs.given(options).items() if name != "init_from"
        }
        configs.make(options.preset or "paper", values)


@functools.cache
def options_of(program):
    """Every option that `--help` of a program names."""
    shown = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            argparse.ArgumentParser, "print_help", lambda self, *_: shown.append(self.format_help())
        )
        with pytest.raises(SystemExit):
            parsed(program, ["--help"])
    return set(re.findall(r"--[a-z][a-z0-9-]*", shown[0]))


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)", FENCE.sub("", page.read_text()), re.M)
    return {
        re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }


def broken_links(page):
    """The relative links of a page that lead to no file, or to no heading of one."""
    found = []
    for link in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text())):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not link.startswith(("http://", "https://")) and (
            not target.exists() or (anchor and anchor not in anchors(target))
        ):
            found.append(link)
    return found


def name(page):
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    assert broken_links(page) == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_are_accepted(page):
    for program, arguments in commands(page.read_text()):
        check(program, arguments)


def test_options_in_the_text_exist():
    known = set().union(*(options_of(program) for program in (*SCRIPTS, *MODULES)))
    for page in OURS:
        for code in re.findall(r"`([^`\n]+)`", FENCE.sub("", page.read_text())):
            if not code.startswith("sbatch"):
                assert not set(re.findall(r"(?<!\S)--[a-z][a-z0-9-]*", code)) - known, (
                    name(page),
                    code,
                )


@pytest.mark.parametrize("page", OURS, ids=name)
def test_commands_stand_in_fenced_blocks(page):
    assert not re.findall(r"^ {4,}(?:\S*python|make) .*", FENCE.sub("", page.read_text()), re.M)


def test_the_networks_of_the_figures_are_trained_by_commands_that_differ():
    make = ["make", "-n", "-C", ROOT, "figures-train", "DATA=x", "VAL=y z", "STEPS=9"]
    printed = subprocess.run(make, capture_output=True, text=True, check=True).stdout
    loop = re.search(r"for t in (.*?);", printed)[1].split()
    lines = [
        line.replace("$t", t)
        for line in re.findall(r"\S*python train.py [^|;\n]*", printed)
        for t in loop
    ]
    found = {line for line in lines if ("--saturation" in line) or "--no-edges" in line}
    for program, arguments in commands("```\n" + "\n".join(found) + "\n```"):
        check(program, arguments)
    runs = {Path(re.search(r"--run (\S+)", line)[1]).name for line in found}
    assert len(found) == 8 and runs == {run for used in USED.values() for run in used.values()}


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


@pytest.mark.parametrize(
    "walk", re.split(r"^## ", (ROOT / "docs/walks.md").read_text(), flags=re.M)[1:]
)
def test_the_walks_are_short_and_name_what_there_is(walk):
    files = re.findall(r"`(\S+\.py)`", re.search(r"^To read, .*?\.$", walk, re.M | re.S)[0])
    assert 0 < len(files) <= 8
    assert sum(len((ROOT / path).read_text().splitlines()) for path in files) <= 1200
    for path, functions in re.findall(r"^\| \d+\. [^|]+ \| `(\S+)` \| ([^|]+) \|", walk, re.M):
        assert path in files
        module = (
            importlib.import_module(path.removesuffix(".py").replace("/", "."))
            if path != "test.py"
            else None
        )
        for function in re.findall(r"`([\w.]+)`", functions):
            assert module is None or callable(
                functools.reduce(getattr, function.split("."), module)
            ), (path, function)


@pytest.mark.parametrize(
    "text",
    [
        "```\npython train.py --data x --run y --start f.keras\n```",
        "```\npython train.py --data x --run y --preset none\n```",
        "```\npython train.py --data x --run y --warmup 5\n```",
        "```\n.venv/bin/python test.py IN OUT \\\n    --colour\n```",
        "```\npython figures.py results --data x --out y --average 0.9\n```",
        "1. x\n\n   ```\n   python -m data.prepare IN OUT --check\n   ```",
    ],
)
def test_a_wrong_command_is_found(text):
    found = list(commands(text))
    assert len(found) == 1
    with pytest.raises((AssertionError, ValueError)):
        check(*found[0])


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# One\n[a](#one) [b](#two) [c](page.md#one) [d](gone.md) [e](page.md#two) [f](https://example.org)\n"
    )
    assert broken_links(page) == ["#two", "gone.md", "page.md#two"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_another_interpreter_is_told_what_to_do(script):
    """-S: without the packages of the environment."""
    done = subprocess.run(
        [sys.executable, "-S", ROOT / script, "--help"], capture_output=True, text=True
    )
    assert (
        done.returncode == 1
        and done.stderr.count("\n") == 1
        and re.search("run `make (setup`, then|app`)", done.stderr)
    ), done.stderr
