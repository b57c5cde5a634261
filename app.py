"""A page in the browser that colorizes pictures as test.py does: `make app`.

It is served to this machine alone, and nothing leaves it: no analytics, no fonts or scripts of
other servers.
"""

import argparse
import contextlib
import functools
import html
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

try:
    from data.preprocess import shrink
    from inference.folder import colorize_all
    from inference.hints import parse_hints, read_hints
    from inference.jobs import find_jobs
    from inference.options import DEFAULT_MODEL
    from inference.report import Report
    from pictures.films import FILMS
    from pictures.reader import BadPicture, read_rgb
    from utils import number
except ModuleNotFoundError as error:
    sys.exit(f"app.py: {error}: run `make app`")

FILES, FILE_BYTES = 500, 400 * 2**20  # at most, at a time; each
PREVIEW = 1600  # px of the longer side of what the browser is given
HOUR = 3600  # uploads and results older than a day are removed, looked for every hour
WORDS = {"done": "colorized", "passed over": "not a picture or a film"}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    add = parser.add_argument
    add("--model", type=Path, default=DEFAULT_MODEL, help="network: .keras, .h5 or .onnx")
    text = "address to serve on (default 127.0.0.1: this machine alone)"
    add("--host", default="127.0.0.1", help=text)
    add("--port", type=number(int, 1, 65535), default=7860, help="default 7860")
    add("--no-browser", action="store_true", help="do not open a browser")
    options = parser.parse_args(arguments)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
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
    except ModuleNotFoundError as error:
        sys.exit(f"app.py: {error}: run `make app`")
    except (ValueError, OSError) as error:  # a BadModel; a port that is taken
        sys.exit(f"app.py: {error}")


def page(colorizer, root):
    """The page, gradio.Blocks. Requests share the Colorizer and are worked on one by one.

    Args:
        root: folder of the results; each request gets one of its own.
    """
    import gradio as gr

    def refused(text):
        return gr.Error(text, print_exception=False)

    def colorize(files, factor, old, guided, before, progress=gr.Progress()):  # noqa: B008
        if not files:
            raise refused("Choose pictures first.")
        if len(files) > FILES:
            raise refused(f"{len(files)} files: at most {FILES} at a time.")
        forget(before)
        settings = colorizer.settings(factor, old=old, guided=guided)
        job = Job(files, Path(tempfile.mkdtemp(dir=root)), colorizer, settings)
        return job, gr.Column(visible=True), *make(job, progress)

    def make(job, progress=gr.Progress()):  # noqa: B008
        try:
            table = job.work(progress)
        except OSError as error:
            raise refused(f"The results cannot be written: {error.strerror}.") from error
        chosen = gr.Dropdown(names := [*job.pairs], value=names[0] if names else None)
        files = [str(target) for _, target in job.pairs.values()]
        return table, chosen, files, job.archive() if names else None

    def show(name, job):
        source, target = job.pairs.get(name, (None, Path()))
        film = target.suffix.lower() in FILMS
        shown = (preview(source), preview(target)) if source and not film else None
        canvas = shown and (job.picture(name) if job.of(name) else shown[1])
        player = gr.Video(str(target) if film else None, visible=film)
        return gr.ImageSlider(shown, visible=not film), player, canvas, *listed(name, job)

    def listed(name, job):
        labels = job.labels(name)
        return gr.Dropdown(labels, value=labels), job.save()

    def change(step):
        def changed(name, job, *values):
            try:
                step(job, name, *values)
                return job.picture(name), *listed(name, job)
            except ValueError as error:
                raise refused(str(error)) from error

        return changed

    def click(name, job, event: gr.SelectData):
        drawn = change(Job.click)(name, job, *event.index)
        x, y = event.index
        return "#" + drawn[0][y, x].tobytes().hex(), *drawn

    cache = (HOUR, 24 * HOUR)
    with gr.Blocks(title="Colorize", analytics_enabled=False, delete_cache=cache) as blocks:
        gr.Markdown("# Colorize\nAll work is done on this machine. Nothing is sent anywhere.")
        job = gr.State(None, delete_callback=forget)  # an hour after the page was closed
        with gr.Row():
            with gr.Column(scale=1):
                files = gr.File(label="Pictures and films", file_count="multiple", height=160)
                how = {"step": 0.01, "label": "Saturation", "elem_id": "saturation"}
                factor = gr.Slider(0, 2, colorizer.saturation, **how)
                if named := colorizer.saturations:
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
                    with gr.Accordion("Put colours right", open=False):
                        text = "Click where a colour is wrong, then choose the right one"
                        how = {"format": "jpeg", "interactive": False, "elem_id": "canvas"}
                        canvas = gr.Image(label=text, **how)
                        with gr.Row():
                            picker = gr.ColorPicker(label="Colour at the last place")
                            undo = gr.Button("Undo")
                            full = gr.Button("Apply at full size")
                        hints = gr.Dropdown([], label="Places", multiselect=True, interactive=True)
                        with gr.Row():
                            save = gr.DownloadButton("Save hints")
                            load = gr.UploadButton("Load hints", file_types=[".json"])
                    how = {"file_count": "multiple", "interactive": False, "height": 160}
                    single = gr.File(label="Results, at full size", **how)
                    together = gr.DownloadButton("Download all as ZIP")
        shown, made = [slider, player, canvas, hints, save], [table, chosen, single, together]
        done = start.click(colorize, [files, factor, old, guided, job], [job, results, *made])
        done.success(show, [chosen, job], shown)
        full.click(make, job, made).success(show, [chosen, job], shown)
        chosen.input(show, [chosen, job], shown)
        given, drawn = [chosen, job], [canvas, hints, save]
        canvas.select(click, given, [picker, *drawn])
        picker.input(change(Job.pick), [*given, picker], drawn, trigger_mode="always_last")
        undo.click(change(Job.undo), given, drawn)
        hints.input(change(Job.keep), [*given, hints], drawn)
        load.upload(change(Job.load), [*given, load], drawn)
    return blocks


class Job:
    """The files of a request, their results, and the hints of a person."""

    def __init__(self, files, folder, colorizer, settings):
        self.folder, self.colorizer, self.settings = folder, colorizer, settings
        self.jobs = find_jobs([gather(files, folder / "in")], folder / "out", films=True)
        self.pairs, self.rows = {}, {}  # name of a result: (input, result); path: row of Report
        self.hints = {}  # input: hints

    def work(self, progress):
        """Colorize all, later what has or had hints -> HTML of what became of each file."""
        todo = [pair for pair in self.jobs.pairs if not self.rows or pair[0] in self.hints]
        pictures, films = (
            [p for p in todo if (p[0] in self.jobs.films) is is_film] for is_film in (False, True)
        )

        def run():
            colorize_all(pictures, self.colorizer, self.settings, report, hints=self.hints)
            if films:
                from inference.film import colorize_films

                colorize_films(films, self.colorizer, self.settings, report)

        with Report(self.jobs) as report, ThreadPoolExecutor(1) as worker:
            working = worker.submit(run)
            while not working.done():
                seen = report.counts["done"] + report.counts["failed"]
                if frames := report.frames:
                    progress(frames, unit="frames")
                else:
                    progress((seen, len(todo)), unit="files")
                time.sleep(0.1)
            working.result()
        self.rows |= {row[1]: row for row in report.files}
        self.pairs = {t.name: (s, t) for s, t in self.jobs.pairs if t.exists()}
        return report_table(self.rows.values())

    def archive(self):
        """A ZIP of the results; pictures are compressed already."""
        with zipfile.ZipFile(self.folder / "colorized.zip", "w", zipfile.ZIP_STORED) as file:
            for name, (_, target) in self.pairs.items():
                file.write(target, name)
        return file.filename

    def of(self, name):
        """The hints of a result, a list that may be changed."""
        return self.hints.setdefault(self.pairs[name][0], []) if name in self.pairs else []

    def picture(self, name):
        """A result with its hints, at the size of the preview, uint8 (h, w, 3)."""
        pixels, view, ab = network_ab(self.colorizer, self.pairs[name][0], self.settings)
        view = view._replace(hints=parse_hints(self.of(name), *pixels.shape[:2], view.area))
        ab = self.colorizer.hinted(view, ab, self.settings)
        return self.colorizer.join(pixels, view, ab, self.settings)

    def click(self, name, x, y):
        """Hold the colour at a pixel of `picture`, until another is picked."""
        height, width = self.picture(name).shape[:2]
        hint = [round((x + 0.5) / width, 5), round((y + 0.5) / height, 5), "keep"]
        self.of(name).append(hint)
        try:
            self.picture(name)
        except ValueError:
            self.undo(name)
            raise

    def pick(self, name, colour):
        """Give the last hint a colour, "#rrggbb" or "rgba(r, g, b, a)"."""
        if colour.startswith("rgb"):
            parts = re.findall(r"[\d.]+", colour)[:3]
            colour = "#" + bytes(round(float(part)) for part in parts).hex()
        for hint in self.of(name)[-1:]:
            hint[2] = colour

    def undo(self, name):
        del self.of(name)[-1:]

    def labels(self, name):
        hints = enumerate(self.of(name), 1)
        return [f"{i}: {colour} at {x:g}, {y:g}" for i, (x, y, colour, *_) in hints]

    def keep(self, name, labels):
        """Remove the hints whose labels are not among these."""
        pairs = zip(self.labels(name), self.of(name))
        self.of(name)[:] = [hint for label, hint in pairs if label in labels]

    def save(self):
        """Write the hints for test.py -> path."""
        path = self.folder / "hints.json"
        path.write_text(json.dumps({s.name: hints for s, hints in self.hints.items() if hints}))
        return str(path)

    def load(self, _, path):
        """Read a file of hints of any of the pictures."""
        pictures = [source for source, _ in self.pairs.values()]
        self.hints |= read_hints(path, pictures, [self.folder / "in"])


@functools.lru_cache(8)
def network_ab(colorizer, path, settings):
    """(preview, NetworkView, the network's ab) of a picture."""
    pixels = preview(path)
    ((view, ab),) = colorizer.predict([pixels], **asdict(settings))
    return pixels, view, ab


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


def forget(job):
    """Remove the files of a request."""
    if job:
        shutil.rmtree(job.folder, ignore_errors=True)


def preview(path):
    """A picture for the browser, uint8 (h, w, 3); None if it can no longer be read."""
    with contextlib.suppress(BadPicture, OSError):
        return shrink(read_rgb(path, PREVIEW), PREVIEW)


if __name__ == "__main__":
    for name in ("SIGTERM", "SIGHUP"):  # as Ctrl-C, so that no picture is left behind
        if hasattr(signal, name):  # Windows lacks the latter
            signal.signal(getattr(signal, name), signal.default_int_handler)
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
