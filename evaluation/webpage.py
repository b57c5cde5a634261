"""What was measured as one HTML file that needs nothing beside it: its pictures are inside."""

import base64
import html
import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from data import color
from data.preprocess import colorize, to_float
from evaluation import measure, methods, metrics
from evaluation.statistics import METRICS
from utils import atomic, printable

WORST_ERROR = 30  # CIEDE2000 at which the error map is brightest
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Colorization</title><style>
body {{ font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 1400px; margin: 2rem auto }}
table {{ border-collapse: collapse; font-size: 13px; display: block; overflow-x: auto }}
th, td {{ padding: 4px 6px; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap }}
small {{ color: #777; font-weight: normal; display: block }}
img {{ width: 24.5% }}
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
    for label, place in (
        {"best": 0, "median": len(ranked) // 2, "worst": -1}.items() if ranked else ()
    ):
        row = ranked[place]
        rgb = measure.read(Path(row["folder"], row["picture"]), size).squashed
        _, (ab,) = methods.predict([method], rgb[None])
        result = colorize(rgb, ab[0], method.factor)
        error = metrics.ciede2000(*(color.lab_from_srgb(to_float(x)) for x in (result, rgb)))
        codes = np.clip(error * (255 / WORST_ERROR), 0, 255).astype(np.uint8)
        heat = cv2.cvtColor(cv2.applyColorMap(codes, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
        images = map(image, (colorize(rgb, 0 * ab[0]), result, rgb, heat))
        numbers = f"PSNR {row['psnr']:.2f} dB, CIEDE2000 {row['ciede2000']:.2f}"
        shown = f"gray, colorized, photograph, CIEDE2000 from 0 (black) to {WORST_ERROR}"
        yield f"<p>{label}: {text(row['picture'])}, {numbers}; {shown}<br>{' '.join(images)}</p>"


def image(rgb):
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "png")
    return (
        f"<img alt='' src='data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}'>"
    )
