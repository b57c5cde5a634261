"""What a folder of results remembers of their settings."""

import json
import os

import pytest

from inference.settings import Record

OLD = {"version": 1, "saturation": 1.0, "size": 64}
NEW = {"version": 1, "saturation": 1.2, "size": 64}


@pytest.fixture
def out(tmp_path):
    """A folder with two results of the settings OLD."""
    record = Record(tmp_path / "out", OLD)
    assert record.stored is None and record.differences() == ""
    record.begin()
    for name in ("a.png", "b.png"):
        (tmp_path / "out" / name).touch()
    record.end()
    return tmp_path / "out"


def test_equal_settings_go_on_and_others_are_named(out):
    before = (out / ".colorized.json").read_bytes()
    record = Record(out, OLD)
    assert record.stored == OLD and record.differences() == ""
    record.begin()
    record.end()
    assert (out / ".colorized.json").read_bytes() == before
    further = Record(out, NEW | {"guided": True}).differences()
    assert further == "saturation 1.0, now 1.2, guided None, now True"


def test_a_stopped_replacement_is_no_end(out):
    again = Record(out, NEW)
    again.begin(overwrite=True)
    assert Record(out, NEW).differences() == "overwriting True, now None"
    again.end()
    assert Record(out, NEW).differences() == "" and Record(out, NEW).stored == NEW


def test_results_of_several_settings_are_not_known(out):
    Record(out, NEW).begin()  # other pictures into the same folder
    assert Record(out, NEW).stored is None and Record(out, NEW).differences() == ""


def test_an_emptied_folder_is_new(out):
    for name in ("a.png", "b.png"):
        os.unlink(out / name)
    Record(out, NEW).begin()
    assert json.loads((out / ".colorized.json").read_text()) == {"settings": NEW}


@pytest.mark.parametrize("content", ["", "[]", "{", '{"settings": 3}', "\0" * 99])
def test_a_damaged_record_is_none(out, content):
    (out / ".colorized.json").write_text(content)
    assert Record(out, OLD).stored is None


def test_one_file_has_no_record(tmp_path):
    record = Record(None, OLD)
    record.begin()
    record.end()
    assert not os.listdir(tmp_path) and record.differences() == ""


def test_shards_that_begin_together_keep_the_record(tmp_path):
    """The second finds results of the first, and a record of its own settings."""
    first, second = Record(tmp_path / "out", OLD), Record(tmp_path / "out", OLD)
    first.begin()
    (tmp_path / "out" / "a.png").touch()
    second.begin()
    assert Record(tmp_path / "out", NEW).differences() == "saturation 1.0, now 1.2"
