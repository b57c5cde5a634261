"""A page in the browser that colorizes pictures as test.py does: `make app`.

The page is served to this machine alone, and nothing leaves it: no analytics, no fonts or scripts of other servers.
"""

import argparse
import html
import os
import shutil
import signal
import sys
import tempfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

try:
    from inference.options import DEFAULT_MODEL
    from utils import number
except ModuleNotFoundError as error:
    sys.exit(f"app.py: {error.name} is not installed: run `make app`")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument(
        "--model", type=Path, default=DEFAULT_MODEL, help="network: .keras, .h5 or .onnx"
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to serve on (default 127.0.0.1: this machine alone)",
    )
    parser.add_argument("--port", type=number(int, 1, 65535), default=7860, help="default 7860")
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser")
    return parser.parse_args()


OPTIONS = (
    parse() if __name__ == "__main__" else None
)  # refused before the imports that take seconds
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

try:
    import gradio as gr

    from inference.jobs import find_jobs
    from pictures.reader import BadPicture, eight_bits, read_picture
except ModuleNotFoundError as error:
    sys.exit(f"app.py: {error.name} is not installed: run `make app`")

from inference.engine import open_network
from inference.folder import colorize_all, rgb
from inference.report import Report
from inference.restoration import shrink
from models.properties import BadModel, factor_of, mirror_of, sizes_of

FILES, FILE_BYTES = 500, 400 * 2**20  # at most, at a time; each
PREVIEW = 1600  # of the longer side of what the slider shows: browsers do not show TIFF, nor 40 megapixels with ease
HOUR = 3600  # uploads and results older than a day are removed, looked for every hour


def main(options):
    if options.host not in ("127.0.0.1", "localhost", "::1"):
        print(
            f"app.py: warning: others can reach {options.host}, and the page asks for no password",
            file=sys.stderr,
        )
    try:
        make, metadata = open_network(options.model)
        predictor = make(sizes_of(metadata), 4)
    except BadModel as error:
        sys.exit(f"app.py: {error}")
    print(f"the page: http://{options.host}:{options.port} (Ctrl-C ends it)")
    with tempfile.TemporaryDirectory(prefix="colorized-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = str(Path(folder, "uploads"))
        try:
            page(predictor, metadata, Path(folder)).queue(default_concurrency_limit=1).launch(
                server_name=options.host, server_port=options.port, inbrowser=not options.no_browser, share=False,
                max_file_size=FILE_BYTES, footer_links=[], show_error=True, quiet=True,
            )  # fmt: skip
        except OSError as error:
            sys.exit(f"app.py: {error}")


def page(predictor, metadata, root):
    """The page. Pictures are colorized one request after the other, since they share the network.

    Args:
        predictor: an engine of `inference.engine`.
        metadata: of its network.
        root: folder of the results; each request gets one of its own.
    """
    named = metadata.get("saturations", {})

    def colorize(files, factor, old, guided, before, progress=gr.Progress()):  # noqa: B008 - Gradio finds it there
        if not files:
            raise gr.Error("Choose pictures first.", print_exception=False)
        if len(files) > FILES:
            raise gr.Error(f"{len(files)} files: at most {FILES} at a time.", print_exception=False)
        forget(before)
        folder = Path(tempfile.mkdtemp(dir=root))
        jobs = find_jobs([gather(files, folder / "in")], folder / "out")
        settings = argparse.Namespace(
            saturation=factor, old=old, guided=guided, mirror=mirror_of(metadata), force=False, toned="replace",
            gamut="chroma", as_published=False, side_by_side=False, quality=95,
        )  # fmt: skip
        with Report(jobs, listed=True) as report, ThreadPoolExecutor(1) as worker:
            working = worker.submit(colorize_all, jobs.pairs, predictor, settings, report)
            while not working.done():
                progress(
                    (report.counts["done"] + report.counts["failed"], len(jobs.pairs)),
                    unit="pictures",
                )
                time.sleep(0.1)
            try:
                working.result()
            except OSError as error:
                raise gr.Error(
                    f"The results cannot be written: {error.strerror}.", print_exception=False
                ) from error
        made = [pair for pair in jobs.pairs if pair[1].exists()]
        names = [target.name for _, target in made]
        pairs = {target.name: (source, target) for source, target in made}
        chosen = gr.Dropdown(names, value=names[0] if names else None)
        whole = archive(folder / "colorized.zip", made) if made else None
        return (
            pairs,
            report_table(report.files),
            chosen,
            [str(path) for _, path in made],
            whole,
            gr.Column(visible=True),
        )

    def show(name, pairs):
        return tuple(preview(path) for path in pairs[name]) if name in pairs else None

    with gr.Blocks(
        title="Colorize", analytics_enabled=False, delete_cache=(HOUR, 24 * HOUR)
    ) as blocks:
        gr.Markdown("# Colorize\nAll work is done on this machine. Nothing is sent anywhere.")
        pairs = gr.State({}, delete_callback=forget)  # an hour after the page was closed
        with gr.Row():
            with gr.Column(scale=1):
                files = gr.File(label="Pictures", file_count="multiple", height=160)
                factor = gr.Slider(
                    0,
                    2,
                    value=factor_of(None, metadata),
                    step=0.01,
                    label="Saturation",
                    elem_id="saturation",
                )
                if named:
                    choice = gr.Radio(
                        list(named), value="natural", show_label=False, container=False
                    )
                    choice.change(named.get, choice, factor)
                old = gr.Checkbox(label="Old photographs", info="Look past fading. Takes longer.")
                guided = gr.Checkbox(
                    label="Guided", info="Colours follow the edges of the picture."
                )
                start = gr.Button("Colorize", variant="primary")
                table = gr.HTML(elem_id="report", max_height=500)
            with gr.Column(scale=2):
                slider = gr.ImageSlider(
                    label="Before and after",
                    interactive=False,
                    max_height=600,
                    buttons=["fullscreen"],
                )
                with gr.Column(visible=False) as results:
                    chosen = gr.Dropdown([], label="Picture", interactive=True)
                    one = gr.File(
                        label="Results, at full size",
                        file_count="multiple",
                        interactive=False,
                        height=160,
                    )
                    whole = gr.DownloadButton("Download all as ZIP")
        outputs = [pairs, table, chosen, one, whole, results]
        start.click(colorize, [files, factor, old, guided, pairs], outputs).success(
            show, [chosen, pairs], slider
        )
        chosen.input(show, [chosen, pairs], slider)
    return blocks


WORDS = {
    "done": "colorized",
    "failed": "failed",
    "passed over": "not a picture",
    "skipped": "skipped",
}


def forget(pairs):
    """Remove the files of a request, {name: (input, result)}."""
    for source, _ in list(pairs.values())[:1]:
        shutil.rmtree(source.parent.parent, ignore_errors=True)


def report_table(entries):
    """HTML of what became of the files; what went wrong comes first."""
    rows = [(WORDS[entry["status"]], Path(entry["input"]).name, entry["note"]) for entry in entries]
    rows.sort(key=lambda row: (row[0] == WORDS["done"], row[1]))
    cells = (
        "".join(f"<td>{html.escape(cell)}</td>" for cell in (name, word, note))
        for word, name, note in rows
    )
    return "<table>" + "".join(f"<tr>{row}</tr>" for row in cells) + "</table>"


def gather(files, folder):
    """Uploaded files, each in a folder of its own, put into one folder under their names; numbered where two are alike."""
    folder.mkdir()
    for file in map(Path, files):
        target, number = folder / file.name, 2
        while target.exists():
            target, number = folder / f"{file.stem} ({number}){file.suffix}", number + 1
        shutil.copyfile(file, target)
    return folder


def archive(path, pairs):
    """A ZIP of the results; pictures are compressed already."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        for _, target in pairs:
            file.write(target, target.name)
    return str(path)


def preview(path):
    """A picture for the slider, uint8 (H, W, 3); None if it can no longer be read."""
    try:
        return shrink(eight_bits(rgb(read_picture(path).pixels)), PREVIEW)
    except (BadPicture, OSError):
        return None


if __name__ == "__main__":
    for name in (
        "SIGTERM",
        "SIGHUP",
    ):  # as Ctrl-C, so that no picture is left behind; Windows lacks the latter
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.default_int_handler)
    try:
        main(OPTIONS)
    except KeyboardInterrupt:
        sys.exit(130)
