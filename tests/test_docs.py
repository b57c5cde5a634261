"""The pages: links lead somewhere, commands and options are those of the programs."""

import argparse
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

import configs

ROOT = Path(__file__).parent.parent
OURS = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
PAGES = [*OURS, ROOT / "benchmarks/README.md", ROOT / "models/pretrained/README.md"]
PROGRAMS = "train.py test.py evaluate.py app.py figures.py inference.publish inference.export"
PROGRAMS = (*PROGRAMS.split(), "evaluation.statistics", "benchmarks.bench")
FENCE = re.compile(r"^ *```[^\n]*\n(.*?)^ *```$", re.M | re.S)


class Parsed(Exception):
    """Raised with the options in place of the work of a program that accepted them."""


def parsed(program, arguments):
    """The options as a program's parser reads them. SystemExit where it refuses them."""
    parse, run = argparse.ArgumentParser.parse_args, runpy.run_module
    if program.endswith(".py"):
        program, run = str(ROOT / program), runpy.run_path

    def stop_after_parsing(self, *given):
        raise Parsed(parse(self, *given))

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Parsed) as found:
        patch.setattr(argparse.ArgumentParser, "parse_args", stop_after_parsing)
        patch.setattr(sys, "argv", [program, *arguments])
        run(program, run_name="__main__")
    return found.value.args[0]


def check_commands(text):
    """Have the programs parse the commands in the fenced blocks of a page."""
    blocks = "".join(FENCE.findall(text)).replace("\\\n", " ")
    for program, arguments in re.findall(r"python (?:-m )?(\S+)(.*)", blocks):
        if program in PROGRAMS:
            options = parsed(program, shlex.split(arguments, comments=True))
            if program == "train.py":
                configs.make(options.preset or "paper", configs.given(options) | {"init_from": ""})


def broken_links(page):
    """The relative links of a page that lead to no file, or to no heading of one."""
    found = []
    for link in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text())):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        titles = re.findall(r"^#+ (.*)", target.read_text(), re.M) if anchor else []
        anchors = {re.sub(r"[^\w -]", "", x).strip().lower().replace(" ", "-") for x in titles}
        if not link.startswith("http") and not (target.exists() and anchors >= {anchor} - {""}):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name + "/" + page.name)
def test_links_lead_somewhere_and_commands_are_accepted(page):
    assert broken_links(page) == []
    check_commands(page.read_text())
    assert page != OURS[0] or page.read_text().count("\n") <= 120


def test_options_in_the_text_exist(capsys):
    for program in PROGRAMS:
        with pytest.raises(SystemExit):
            parsed(program, ["--help"])
    known = set(re.findall(r"--[a-z][a-z0-9-]*", capsys.readouterr().out))
    for page in OURS:
        text = " ".join(re.findall(r"`([^`\n]+)`", FENCE.sub("", page.read_text())))
        assert set(re.findall(r"(?<!\S)--[a-z][a-z0-9-]*", text)) <= known, page


def test_what_is_wrong_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One\n[a](#one) [b](#two) [c](page.md#one) [d](gone.md) [f](https://x.org)")
    assert broken_links(page) == ["#two", "gone.md"]
    for wrong in ("train.py --data x --run y --warmup 5", "test.py IN OUT \\\n  --colour"):
        with pytest.raises((SystemExit, ValueError)):
            check_commands(f"1. x\n\n   ```\n   .venv/bin/python {wrong}\n   ```")
