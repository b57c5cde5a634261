"""What was measured as one HTML file that needs nothing beside it: its pictures are inside."""

import base64
import html
import io

import cv2
import numpy as np
from PIL import Image

from evaluation.measure import open_text
from evaluation.statistics import METRICS
from utils import atomic, printable

WORST_ERROR = 30  # CIEDE2000 at which the error map is brightest
INTRODUCTION = """<h1>Colorization, measured</h1>
<p>{measured} photographs of {data}; left out: {gray} gray, {broken} broken. {without_ssim} are too
small for SSIM at their own size. The mean ab and the rarity of colours are those of {common}
pictures of {common_data}. The ab of networks and ceiling is multiplied by {factors}. Small: 95 %
interval of the mean over pictures. The ceiling is the training target joined to the photographs'
own lightness: what a perfect fit would give.</p>"""
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 1400px; margin: 2rem auto }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums }
th, td { padding: 4px 6px; border-bottom: 1px solid #ddd; text-align: right }
th:first-child, td:first-child { text-align: left; white-space: nowrap }
small { color: #777; font-weight: normal; display: block; white-space: nowrap }
.wide { overflow-x: auto }
figure { display: grid; grid-template-columns: repeat(4, 1fr); gap: 6px; margin: 0 0 1.2rem }
img { width: 100% }
figcaption { grid-column: 1 / -1; font-size: 13px; color: #555 }
"""


def write(path, result, tables, examples):
    """Write the page of a result (summary.json), its `tables.tables_of` and examples by method."""
    common = result["common_colors"]
    parts = [
        INTRODUCTION.format(
            **result["pictures"],
            data=text(", ".join(result["data"])),
            common=common["pictures"],
            common_data=text(", ".join(common["data"])),
            factors=", ".join(f"{factor:g}" for factor in result["saturation"]),
        )
    ]
    for title, _, table in tables:
        parts += [f"<h2>{text(title)}</h2>", table_of(table)]
    for name, shown in examples.items():
        what = f"Gray, colorized, photograph, CIEDE2000 from 0 (black) to {WORST_ERROR}."
        parts.append(
            f"<h2>{text(name)}</h2><p>{what if shown else 'It gave no finite colours.'}</p>"
        )
        parts += [figure(*example) for example in shown]
    head = "<!doctype html><html lang='en'><meta charset='utf-8'><title>Colorization</title>"
    with atomic(path) as temporary, open_text(temporary) as file:
        file.write(f"{head}<style>{STYLE}</style>\n" + "\n".join(parts) + "\n</html>\n")


def text(value):
    return html.escape(printable(value))


def table_of(table):
    names = list(dict.fromkeys(name for found in table.values() for name in found))
    shown = (METRICS[name] for name in names)
    heads = (f"<th>{m.title}<small>{m.unit}</small><small>{m.better}</small></th>" for m in shown)
    lines = [f"<tr><th></th>{''.join(heads)}</tr>"]
    for method, found in table.items():
        cells = (
            f"<td>{own['mean']:.4g}<small>{own['low']:.3g} .. {own['high']:.3g}</small></td>"
            for own in map(found.get, names)
        )
        lines.append(f"<tr><td>{text(method)}</td>{''.join(cells)}</tr>")
    return f"<div class='wide'><table>{''.join(lines)}</table></div>"


def figure(caption, panels):
    """One picture: its panels as PNG, the last of them a map of errors."""
    codes = np.clip(panels[-1] * (255 / WORST_ERROR), 0, 255).astype(np.uint8)
    heat = cv2.cvtColor(cv2.applyColorMap(codes, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    images = ""
    for rgb in (*panels[:-1], heat):
        buffer = io.BytesIO()
        Image.fromarray(rgb).save(buffer, "png")
        content = base64.b64encode(buffer.getvalue()).decode()
        images += f"<img alt='' src='data:image/png;base64,{content}'>"
    return f"<figure>{images}<figcaption>{text(caption)}</figcaption></figure>"
