"""Which pictures are read, where the results are written, and what the report says."""

import random
import unicodedata

import pytest

from inference.jobs import find_jobs, number_outputs, output_names, share_of


def test_output_names_never_collide():
    plain = {"a.jpg": "a.png", "b.tif": "b.png", "c": "c.png"}
    assert output_names(list(plain), ".png") == plain
    assert output_names(["a.jpg", "a.png"], ".png") == {"a.jpg": "a.jpg.png", "a.png": "a.png.png"}
    assert output_names(["A.jpg", "a.png"], ".png") == {"A.jpg": "A.jpg.png", "a.png": "a.png.png"}
    rng = random.Random(0)
    for _ in range(300):
        lengths = (rng.randrange(1, 4) for _ in range(6))
        names = {"".join(rng.choice(["a", ".jpg", ".png"]) for _ in range(n)) for n in lengths}
        outputs = output_names(sorted(names), ".png")
        assert len(set(outputs.values())) == len(names)
        assert output_names(sorted(names, reverse=True), ".png") == outputs


def test_results_keep_the_format_where_it_can_be_written():
    kept = {name: name for name in ("a.JPG", "b.jpeg", "c.tif", "d.webp", "e.png")}
    kept |= {"f.gif": "f.png", "g.heic": "g.png", "nameless": "nameless.png"}
    assert output_names(list(kept)) == kept
    three = ["a.jpg", "a.png", "a.tif"]
    assert output_names(three) == dict(zip(three, three))
    assert output_names(["a.bmp", "a.png"]) == {"a.bmp": "a.bmp.png", "a.png": "a.png.png"}


@pytest.mark.parametrize(
    "names",
    [
        ("A/x.png", "a/x.png", "a/X.png", "a/x (2).png"),
        ("caf\u00e9.bmp", "cafe\u0301.bmp", "CAF\u00c9.bmp"),
        ("Y.bmp", "y.bmp", "y.png"),
        ("d/stra\u00dfe.jpg", "D/STRASSE.jpg"),
    ],
)
def test_names_that_other_disks_take_for_one_get_numbers(tmp_path, names):
    for name in names:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    pairs = find_jobs([tmp_path / "in"], tmp_path / "out").pairs
    found = [unicodedata.normalize("NFC", str(target)).casefold() for _, target in pairs]
    assert len(set(found)) == len(names)
    assert number_outputs(pairs) == pairs
    for i in range(3):  # shards use the same names
        part = find_jobs([tmp_path / "in"], tmp_path / "out", share=(i, 3)).pairs
        assert set(part) <= set(pairs)


def test_shares_are_stable(tmp_path):
    """Neither other files nor the folder's place change a share; the shares are about equal."""
    found = []
    for root, count in ((tmp_path / "few", 150), (tmp_path / "elsewhere/many", 300)):
        for i in range(count):
            (root / f"{i % 7}").mkdir(parents=True, exist_ok=True)
            (root / f"{i % 7}" / f"{i}.png").touch()
        (root / "\udcff.png").touch()
        parts = [find_jobs([root], tmp_path / "out", share=(i, 3)).pairs for i in range(3)]
        found.append({str(p.relative_to(root)): i for i in range(3) for p, _ in parts[i]})
    few, many = found
    assert len(few) == 151 and len(many) == 301 and few.items() <= many.items()
    assert all(70 < list(many.values()).count(i) < 130 for i in range(3))
    # the same in every release
    assert [share_of(f"a/{i}.jpg", 1000) for i in range(3)] == [21, 780, 2]
