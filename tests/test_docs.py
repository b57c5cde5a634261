"""The documentation: links lead somewhere, commands are accepted by the programs that they name."""

import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    *sorted(ROOT.glob("docs/*.md")),
    ROOT / "benchmarks/README.md",
    ROOT / "models/pretrained/README.md",
]
PROGRAMS = {"train.py", "test.py", "evaluate.py", "figures.py"}


def name(page):
    return page.relative_to(ROOT).as_posix()


@cache
def help_of(*program):
    done = subprocess.run([sys.executable, *program, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(re.findall(r"--[a-z0-9-]+", done.stdout))


def commands(page):
    """The commands of a page that call a program of ours: (the program as arguments of python, options)."""
    for line in re.findall(r"^ {4,}(.+)$|`([^`\n]+)`", page.read_text(), re.M):
        words = shlex.split("".join(line).partition(" #")[0].replace("\\|", "|"), posix=False)
        for i, word in enumerate(words):
            if word in PROGRAMS:
                program = (word, words[i + 1]) if word == "figures.py" and i + 1 < len(words) else (word,)
            elif word == "-m" and i + 1 < len(words) and words[i + 1].partition(".")[0] in ("data", "inference"):
                program = ("-m", words[i + 1])
            else:
                continue
            yield program, [w for w in words[i + len(program) :] if w.startswith("--") and w != "--"]
            break


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_files(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not link.startswith("http"):
            path, _, anchor = link.partition("#")
            target = (page.parent / path) if path else page
            assert target.exists(), link
            titles = re.findall(r"^#+ (.*)", target.read_text(), re.M) if anchor else ()
            headings = [re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles]
            assert not anchor or anchor in headings, link


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_have_options_that_there_are(page):
    for program, options in commands(page):
        known = help_of(*program) | (help_of("train.py") if program[0] == "figures.py" else set())
        assert not [option for option in options if option.partition("=")[0] not in known], (program, options)


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
