"""What a folder of results remembers of their settings."""

import json
import os
import time

import pytest

from inference.settings import Record

OLD, NEW = (
    {"version": 1, "saturation": 1.0, "size": 64},
    {"version": 1, "saturation": 1.2, "size": 64},
)


def write(path):
    path.parent.mkdir(exist_ok=True)
    path.write_text("result")
    return path


@pytest.fixture
def out(tmp_path):
    """A folder with two results of the settings OLD."""
    record = Record(tmp_path / "out", OLD)
    assert record.stored is None and record.differences() == ""
    record.begin()
    for name in ("a.png", "b.png"):
        write(tmp_path / "out" / name)
    record.end()
    return tmp_path / "out"


def test_equal_settings_go_on(out):
    before = (out / ".colorized.json").read_bytes()
    record = Record(out, OLD)
    assert record.differences() == "" and not record.is_outdated(out / "a.png")
    record.begin()
    record.end()
    assert (out / ".colorized.json").read_bytes() == before


def test_other_settings_are_named(out):
    assert Record(out, NEW).differences() == "saturation 1.0, now 1.2"
    assert (
        Record(out, NEW | {"guided": True}).differences()
        == "saturation 1.0, now 1.2, guided None, now True"
    )


def test_a_stopped_replacement_goes_on(out):
    """Without --overwrite: what is older than the settings is made again, what is newer is kept."""
    record = Record(out, NEW, overwrite=True)
    time.sleep(0.02)
    record.begin()
    time.sleep(0.02)
    write(out / "a.png")
    later = Record(out, NEW)
    assert (
        later.differences() == ""
        and not later.is_outdated(out / "a.png")
        and later.is_outdated(out / "b.png")
    )
    Record(out, NEW, overwrite=True).begin()  # another share begins
    assert not Record(out, NEW).is_outdated(out / "a.png")
    later.begin()
    later.end()
    assert not Record(out, NEW).is_outdated(out / "b.png")


def test_results_of_several_settings_are_not_known(out):
    record = Record(out, NEW)  # other pictures into the same folder
    record.begin()
    write(out / "c.png")
    record.end()
    assert Record(out, NEW).stored is None and Record(out, NEW).differences() == ""
    Record(out, NEW, overwrite=True).begin()
    assert Record(out, NEW).stored == NEW and Record(out, NEW).is_outdated(out / "c.png")


def test_an_emptied_folder_is_new(out):
    for name in ("a.png", "b.png"):
        os.unlink(out / name)
    Record(out, NEW).begin()
    assert json.loads((out / ".colorized.json").read_text()) == {
        "settings": NEW,
        "replacing": False,
    }


@pytest.mark.parametrize("content", ["", "[]", "{", '{"settings": 3, "replacing": 1}', "\0" * 99])
def test_a_damaged_record_is_none(out, content):
    (out / ".colorized.json").write_text(content)
    assert Record(out, OLD).stored is None and not Record(out, OLD).is_outdated(out / "a.png")


def test_one_file_has_no_record(tmp_path):
    record = Record(None, OLD)
    record.begin()
    record.end()
    assert not os.listdir(tmp_path) and record.differences() == ""


def test_shards_that_begin_together_keep_the_record(tmp_path):
    """The second finds results of the first, and a record of its own settings."""
    first, second = Record(tmp_path / "out", OLD), Record(tmp_path / "out", OLD)
    first.begin()
    write(tmp_path / "out" / "a.png")
    second.begin()
    assert Record(tmp_path / "out", OLD).stored == OLD
    other = Record(tmp_path / "out", NEW)
    assert other.differences() == "saturation 1.0, now 1.2"
