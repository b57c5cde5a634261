"""What was measured as one HTML file that needs nothing beside it: its pictures are inside."""

import base64
import html
import io
from pathlib import Path

import numpy as np
from PIL import Image

from data.preprocess import colorize
from evaluation import measure, methods
from evaluation.statistics import METRICS
from utils import atomic, printable

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Colorization</title><style>
body {{ font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 1400px; margin: 2rem auto }}
table {{ border-collapse: collapse; font-size: 13px; display: block; overflow-x: auto }}
th, td {{ padding: 4px 6px; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap }}
small {{ color: #777; font-weight: normal; display: block }}
img {{ width: 33% }}
</style>
<h1>Colorization, measured</h1>
<p>{measured} photographs of {data}; left out: {gray} gray, {broken} broken. {without_ssim} are too
small for SSIM at their own size. Small: 95 % interval of the mean over pictures. The ceiling is the
training target joined to the photographs' own lightness: what a perfect fit would give.</p>
{body}
</html>
"""


def write(path, result, tables, rows_of):
    """Write the page.

    Args:
        result: of summary.json.
        tables: {title: {method: {metric: mean and interval}}}.
        rows_of: {Method: rows of its squashed pictures}, of which examples are shown.
    """
    parts = [f"<h2>{text(title)}</h2>{table_of(table)}" for title, table in tables.items()]
    for method, rows in rows_of.items():
        shown = "".join(examples(method, rows, result["size"])) or "It gave no finite colours."
        parts.append(f"<h2>{text(method.name)}</h2>{shown}")
    data = text(", ".join(result["data"]))
    page = PAGE.format(**result["pictures"], data=data, body="\n".join(parts))
    with atomic(path) as temporary, measure.open_text(temporary, "w") as file:
        file.write(page)


def text(value):
    return html.escape(printable(value))


def table_of(table):
    names = list(dict.fromkeys(name for found in table.values() for name in found))
    heads = (f"<th>{METRICS[name].title}<small>{METRICS[name].unit}</small>" for name in names)
    lines = [f"<tr><th>{''.join(heads)}"]
    for method, found in table.items():
        cells = (
            f"<td>{own['mean']:.4g}<small>{own['low']:.3g} .. {own['high']:.3g}</small>"
            for own in map(found.get, names)
        )
        lines.append(f"<tr><th>{text(method)}{''.join(cells)}")
    return f"<table>{''.join(lines)}</table>"


def examples(method, rows, size):
    """The best, the median and the worst of a method's squashed pictures by PSNR, as HTML."""
    ranked = sorted((row for row in rows if np.isfinite(row["psnr"])), key=lambda row: -row["psnr"])
    places = {"best": 0, "median": len(ranked) // 2, "worst": -1} if ranked else {}
    for label, place in places.items():
        row = ranked[place]
        rgb = measure.read(Path(row["folder"], row["picture"]), size).squashed
        _, (ab,) = methods.predict([method], rgb[None])
        results = (colorize(rgb, ab[0], factor) for factor in (0, method.factor))
        numbers = f"PSNR {row['psnr']:.2f} dB, CIEDE2000 {row['ciede2000']:.2f}"
        caption = f"{label}: {text(row['picture'])}, {numbers}; gray, colorized, photograph"
        yield f"<p>{caption}<br>{' '.join(map(image, (*results, rgb)))}</p>"


def image(rgb):
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "png")
    return (
        f"<img alt='' src='data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}'>"
    )
