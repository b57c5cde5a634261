"""What was measured as one HTML file that needs nothing beside it: pictures and plots are inside."""

import base64
import html
import io
from dataclasses import dataclass

import cv2
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from evaluation.statistics import METRICS, PAIRED

PROTOCOLS = {
    "squashed": "Pictures squashed to {size} x {size}, as training sees them",
    "own": "Pictures at their own size",
}
FURTHER = {
    "degraded": "Networks that see L with faults",
    "borders": "What a border around the picture does to its colours",
}
WORST_ERROR = 30  # CIEDE2000 at which the error map is brightest
PLOTTED = ("relative_mse", "psnr", "ciede2000", "bleed", "cf")
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 1400px; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; margin: 1rem 0 }
th, td { padding: 4px 6px; border-bottom: 1px solid #ddd; text-align: right; vertical-align: bottom }
th:first-child, td:first-child { text-align: left; white-space: nowrap }
td small, th small { color: #777; font-weight: normal; display: block; white-space: nowrap }
.wide { overflow-x: auto }
figure { display: grid; grid-template-columns: repeat(4, 1fr); gap: 6px; margin: 0 0 1.2rem }
figure img { width: 100% }
figcaption { grid-column: 1 / -1; font-size: 13px; color: #555 }
"""


@dataclass(frozen=True)
class Example:
    """A picture to show: uint8 (S, S, 3) each, and the CIEDE2000 of every pixel, (S, S)."""

    label: str
    row: dict  # its metrics
    gray: np.ndarray
    result: np.ndarray
    reference: np.ndarray
    error: np.ndarray


def write(path, result, rows, examples):
    """
    Args:
        path: of the HTML file; overwritten.
        result: what summary.json holds.
        rows: {protocol: {method: rows of metrics.csv}}.
        examples: {model: [Example]}.
    """
    counts, common = result["pictures"], result["common_colors"]
    factors = ", ".join(f"{factor:g}" for factor in result["saturation"])
    data, common_data = (text(", ".join(folders)) for folders in (result["data"], common["data"]))
    parts = [
        "<h1>Colorization, measured</h1>",
        f"<p>{counts['measured']} photographs of {data}; left out: {counts['gray']} gray, {counts['broken']} broken.",
        f"{counts['without_ssim']} are too small for SSIM, whose mean is over the others. "
        * (counts["without_ssim"] > 0),
        f"The mean ab and the rarity of colours are those of {common['pictures']} pictures of {common_data}"
        f"{', the measured ones themselves' * (common['data'] == result['data'])}. The ab of networks and ceiling is "
        f"multiplied by {factors}. Small: 95 % interval of the mean over pictures. "
        "The ceiling is the training target joined to the photographs' own lightness: what a perfect fit would give.</p>",
    ]
    for title, (name, group), table in tables(result):
        parts += [f"<h2>{text(title)}</h2>", table_of(table)]
        if name in rows and not group:
            parts += [
                image(svg(plot_means(table)), "means and intervals"),
                image(svg(plot_gain(rows[name])), "PSNR"),
            ]
            if comparisons := result.get("paired", {}).get(name):
                parts += [f"<h3>Networks in pairs, {name}</h3>", comparison_table(comparisons)]
    for name, shown in examples.items():
        parts.append(
            f"<h2>{text(name)}</h2><p>Gray, colorized, photograph, CIEDE2000 from 0 (black) to {WORST_ERROR}.</p>"
        )
        parts += [figure(example) for example in shown] or ["<p>It gave no finite colours.</p>"]
    title = (
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Colorization, measured</title>"
    )
    path.write_text(
        f"{title}<style>{STYLE}</style>\n" + "\n".join(parts) + "\n</html>\n", encoding="utf-8"
    )


def tables(result):
    """The tables of a result: (title, (name, group), {method: metrics})."""
    found = [
        (PROTOCOLS[name].format(**result), (name, ""), table)
        for name, table in result["protocols"].items()
    ]
    for group, protocols in sorted(result["groups"].items()):
        found += [(f"{group}, {name}", (name, group), table) for name, table in protocols.items()]
    for name in ("degraded", "borders"):
        if result[name]:
            found.append((FURTHER[name], (name, ""), result[name]))
    return found


def text(value):
    return html.escape(str(value).encode(errors="backslashreplace").decode())


def table_of(table):
    names = list(dict.fromkeys(name for found in table.values() for name in found))
    heads = [
        f"<th>{m.title}<small>{m.unit}</small><small>{m.better}</small></th>"
        for m in map(METRICS.get, names)
    ]
    lines = []
    for method, found in table.items():
        cells = (
            f"<td>{f['mean']:.4g}<small>{interval(f)}</small></td>" for f in map(found.get, names)
        )
        lines.append(f"<tr><td>{text(method)}</td>{''.join(cells)}</tr>")
    return (
        f"<div class='wide'><table><tr><th></th>{''.join(heads)}</tr>{''.join(lines)}</table></div>"
    )


def interval(found):
    """An interval in words; FID has none, as a sample drawn anew holds pictures twice."""
    return "" if found["low"] is None else f"{found['low']:.3g} .. {found['high']:.3g}"


def difference(found):
    """A paired difference in words."""
    verdict = "differs" if found["differs"] else "no difference shown"
    return f"{found['difference']:+.4g} ({found['low']:+.4g} .. {found['high']:+.4g}), {verdict}"


def comparison_table(comparisons):
    names = [name for name in PAIRED if name in comparisons[0]]
    heads = "".join(f"<th>{METRICS[name].title}</th>" for name in names)
    lines = (
        f"<tr><td>{text(pair['second'])} minus {text(pair['first'])}</td>"
        + "".join(f"<td>{difference(pair[name])}</td>" for name in names)
        for pair in comparisons
    )
    return f"<div class='wide'><table><tr><th></th>{heads}</tr>{''.join(lines)}</table></div>"


def plot_means(table):
    """A panel for each metric: the methods' means with their intervals; what is not finite has no mark."""
    names = [name for name in PLOTTED if name in next(iter(table.values()))]
    canvas = Figure(figsize=(11.5, 0.32 * len(table) + 1), layout="constrained")
    for axis, name in zip(canvas.subplots(1, len(names), sharey=True), names):
        for place, found in enumerate(table.values()):
            mean, low, high = found[name].values()
            if np.isfinite([mean, low, high]).all():
                axis.plot([low, high], [place, place], color="#888")
                axis.plot(mean, place, "o", color="C0", markersize=5)
        axis.set(
            title=f"{METRICS[name].title}, {METRICS[name].unit}",
            yticks=range(len(table)),
            yticklabels=list(table),
        )
        axis.title.set_fontsize(9)
        axis.set_ylim(len(table) - 0.5, -0.5)
        axis.grid(axis="x", color="#eee")
    return canvas


def plot_gain(rows):
    """Each method's PSNR less that of all-gray output on the same picture, its pictures sorted."""
    canvas = Figure(figsize=(11.5, 3), layout="constrained")
    axis = canvas.subplots()
    gray = np.array([row["psnr"] for row in rows["all-gray"]])
    for name, own in rows.items():
        gain = np.sort(np.array([row["psnr"] for row in own]) - gray)
        if name != "all-gray" and np.isfinite(gain).all():
            axis.plot(np.linspace(0, 100, len(gain)), gain, label=name)
    axis.axhline(0, color="#888", linewidth=1)
    axis.set(xlabel="share of the pictures, %", ylabel="PSNR beyond all-gray, dB")
    axis.grid(color="#eee")
    axis.legend()
    return canvas


def svg(canvas):
    buffer = io.BytesIO()
    canvas.savefig(buffer, format="svg")
    return "svg+xml", buffer.getvalue()


def png(rgb):
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "png")
    return "png", buffer.getvalue()


def image(encoded, description):
    kind, content = encoded
    return f"<img alt='{description}' src='data:image/{kind};base64,{base64.b64encode(content).decode()}'>"


def figure(example):
    codes = np.clip(example.error * (255 / WORST_ERROR), 0, 255).astype(np.uint8)
    heat = cv2.cvtColor(cv2.applyColorMap(codes, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    images = {
        "gray": example.gray,
        "colorized": example.result,
        "photograph": example.reference,
        "error": heat,
    }
    row = example.row
    caption = f"{example.label}: {text(row['picture'])}, PSNR {row['psnr']:.2f} dB, CIEDE2000 {row['ciede2000']:.2f}"
    pictures = "".join(image(png(rgb), name) for name, rgb in images.items())
    return f"<figure>{pictures}<figcaption>{caption}</figcaption></figure>"
