"""A page in the browser that colorizes pictures as test.py does: `make app`.

It is served to this machine alone, and nothing leaves it: no analytics, no fonts or scripts of
other servers.
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

FILES, FILE_BYTES = 500, 400 * 2**20  # at most, at a time; each
PREVIEW = (
    1600  # px of the longer side in the slider: browsers show no TIFF, and 40 megapixels badly
)
HOUR = 3600  # uploads and results older than a day are removed, looked for every hour
WORDS = {"done": "colorized", "passed over": "not a picture or a film"}


def main(arguments=None):
    try:
        from inference.options import DEFAULT_MODEL
        from utils import number

        parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
        add = parser.add_argument
        text = "network: .keras, .h5 or .onnx"
        add("--model", type=Path, default=DEFAULT_MODEL, help=text)
        text = "address to serve on (default 127.0.0.1: this machine alone)"
        add("--host", default="127.0.0.1", help=text)
        add("--port", type=number(int, 1, 65535), default=7860, help="default 7860")
        add("--no-browser", action="store_true", help="do not open a browser")
        options = parser.parse_args(arguments)
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        import gradio  # noqa: F401 - slow, and so after what may be refused
    except ModuleNotFoundError as error:
        sys.exit(f"app.py: {error}: run `make app`")
    from colorizer import Colorizer

    if options.host not in ("127.0.0.1", "localhost", "::1"):
        reach = f"others can reach {options.host}, and the page asks for no password"
        print(f"app.py: warning: {reach}", file=sys.stderr)
    try:
        colorizer = Colorizer(options.model)
        print(f"the page: http://{options.host}:{options.port} (Ctrl-C ends it)")
        with tempfile.TemporaryDirectory(prefix="colorized-") as folder:
            os.environ["GRADIO_TEMP_DIR"] = str(Path(folder, "uploads"))
            page(colorizer, Path(folder)).queue(default_concurrency_limit=1).launch(
                server_name=options.host,
                server_port=options.port,
                inbrowser=not options.no_browser,
                share=False,
                max_file_size=FILE_BYTES,
                footer_links=[],
                show_error=True,
                quiet=True,
            )
    except (ValueError, OSError) as error:  # a BadModel; a port that is taken
        sys.exit(f"app.py: {error}")


def page(colorizer, root):
    """The page, gradio.Blocks. Requests share the Colorizer and are worked on one by one.

    Args:
        root: folder of the results; each request gets one of its own.
    """
    import gradio as gr

    from pictures.films import FILMS

    named = colorizer.saturations

    def colorize(files, factor, old, guided, before, progress=gr.Progress()):  # noqa: B008
        if not files:
            raise gr.Error("Choose pictures first.", print_exception=False)
        if len(files) > FILES:
            raise gr.Error(f"{len(files)} files: at most {FILES} at a time.", print_exception=False)
        forget(before)
        folder = Path(tempfile.mkdtemp(dir=root))
        settings = colorizer.settings(factor, old=old, guided=guided)
        try:
            made, table = work(files, folder, colorizer, settings, progress)
        except OSError as error:
            text = f"The results cannot be written: {error.strerror}."
            raise gr.Error(text, print_exception=False) from error
        names = [target.name for _, target in made]
        chosen = gr.Dropdown(names, value=names[0] if names else None)
        together = archive(folder / "colorized.zip", made) if made else None
        results = [str(target) for _, target in made]
        return dict(zip(names, made)), table, chosen, results, together, gr.Column(visible=True)

    def show(name, pairs):
        source, target = pairs.get(name, (None, Path()))
        film = target.suffix.lower() in FILMS
        shown = (preview(source), preview(target)) if source and not film else None
        player = gr.Video(str(target) if film else None, visible=film)
        return gr.ImageSlider(shown, visible=not film), player

    cache = (HOUR, 24 * HOUR)
    with gr.Blocks(title="Colorize", analytics_enabled=False, delete_cache=cache) as blocks:
        gr.Markdown("# Colorize\nAll work is done on this machine. Nothing is sent anywhere.")
        pairs = gr.State({}, delete_callback=forget)  # an hour after the page was closed
        with gr.Row():
            with gr.Column(scale=1):
                files = gr.File(label="Pictures and films", file_count="multiple", height=160)
                how = {"step": 0.01, "label": "Saturation", "elem_id": "saturation"}
                factor = gr.Slider(0, 2, colorizer.saturation, **how)
                if named:
                    choice = gr.Radio([*named], value="natural", show_label=False, container=False)
                    choice.change(named.get, choice, factor)
                old = gr.Checkbox(label="Old photographs", info="Look past fading. Takes longer.")
                text = "Colours follow the edges of the picture."
                guided = gr.Checkbox(label="Guided", info=text)
                start = gr.Button("Colorize", variant="primary")
                table = gr.HTML(elem_id="report", max_height=500)
            with gr.Column(scale=2):
                how = {"interactive": False, "max_height": 600, "buttons": ["fullscreen"]}
                slider = gr.ImageSlider(label="Before and after", **how)
                player = gr.Video(label="Result", interactive=False, visible=False)
                with gr.Column(visible=False) as results:
                    chosen = gr.Dropdown([], label="Result", interactive=True)
                    how = {"file_count": "multiple", "interactive": False, "height": 160}
                    single = gr.File(label="Results, at full size", **how)
                    together = gr.DownloadButton("Download all as ZIP")
        outputs = [pairs, table, chosen, single, together, results]
        done = start.click(colorize, [files, factor, old, guided, pairs], outputs)
        done.success(show, [chosen, pairs], [slider, player])
        chosen.input(show, [chosen, pairs], [slider, player])
    return blocks


def work(files, folder, colorizer, settings, progress):
    """Colorize uploaded files -> ([(input, result)] of those that were, HTML of all)."""
    from inference.folder import colorize_all
    from inference.jobs import find_jobs
    from inference.report import Report

    jobs = find_jobs([gather(files, folder / "in")], folder / "out", films=True)

    def run():
        pictures = [pair for pair in jobs.pairs if pair[0] not in jobs.films]
        colorize_all(pictures, colorizer, settings, report)
        if jobs.films:
            from inference.film import colorize_films

            films = [pair for pair in jobs.pairs if pair[0] in jobs.films]
            colorize_films(films, colorizer, settings, report)

    with Report(jobs) as report, ThreadPoolExecutor(1) as worker:
        working = worker.submit(run)
        while not working.done():
            seen = report.counts["done"] + report.counts["failed"]
            if frames := report.frames:
                progress(frames, unit="frames")
            else:
                progress((seen, len(jobs.pairs)), unit="files")
            time.sleep(0.1)
        working.result()
    return [pair for pair in jobs.pairs if pair[1].exists()], report_table(report.files)


def report_table(files):
    """HTML of what became of the files, [(kind, path, note)]; what went wrong comes first."""
    rows = [(path.name, WORDS.get(kind, kind), note) for kind, path, note in files]
    rows.sort(key=lambda row: (row[1] == WORDS["done"], row[0]))
    cells = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows)
    return "<table>" + "".join(f"<tr>{row}</tr>" for row in cells) + "</table>"


def gather(files, folder):
    """Copy uploaded files into one folder under their names; numbered where two are alike."""
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


def forget(pairs):
    """Remove the files of a request, {name: (input, result)}."""
    for source, _ in list(pairs.values())[:1]:
        shutil.rmtree(source.parent.parent, ignore_errors=True)


def preview(path):
    """A picture for the slider, uint8 (h, w, 3); None if it can no longer be read."""
    from data.preprocess import shrink
    from pictures.reader import BadPicture, read_rgb

    try:
        return shrink(read_rgb(path, PREVIEW), PREVIEW)
    except (BadPicture, OSError):
        return None


if __name__ == "__main__":
    for name in ("SIGTERM", "SIGHUP"):  # as Ctrl-C, so that no picture is left behind
        if hasattr(signal, name):  # Windows lacks the latter
            signal.signal(getattr(signal, name), signal.default_int_handler)
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
