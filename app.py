"""A page in the browser that colorizes pictures as test.py does: `make app`.

It is served to this machine alone, and nothing leaves it: no analytics, no fonts or scripts of
other servers.
"""

import argparse
import functools
import html
import json
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
PREVIEW = 1600  # px of the longer side of what the browser is given
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
        player = gr.Video(str(target) if film else None, visible=film)
        canvas = shown and (job.picture(name) if job.hints.get(name) else shown[1])
        return gr.ImageSlider(shown, visible=not film), player, canvas, *listed(name, job)

    def listed(name, job):
        given = job.labels(name)
        return gr.Dropdown(given, value=given), job.save()

    def change(step):
        """An event after which the picture is shown with its hints as they are then."""

        def changed(name, job, *values):
            before = list(job.hints.get(name, ()))
            try:
                return step(job, name, *values), job.picture(name), *listed(name, job)
            except (ValueError, LookupError) as error:
                job.hints[name] = before
                raise refused(str(error)) from error

        return changed

    def click(name, job, event: gr.SelectData):
        return change(Job.click)(name, job, *event.index)

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
        given, drawn = [chosen, job], [picker, canvas, hints, save]
        canvas.select(click, given, drawn)
        last = {"trigger_mode": "always_last"}
        picker.input(change(Job.pick), [*given, picker], drawn, **last)
        undo.click(change(Job.undo), given, drawn)
        hints.input(change(Job.keep), [*given, hints], drawn)
        load.upload(change(Job.load), [*given, load], drawn)
    return blocks


class Job:
    """The files of a request, their results, and the hints of a person, by the result's name."""

    def __init__(self, files, folder, colorizer, settings):
        self.folder, self.colorizer, self.settings = folder, colorizer, settings
        self.pairs, self.files = {}, []  # name of a result: (input, result); of Report
        self.hints, self.applied = {}, None  # what the results are made with
        self.jobs = find_jobs([gather(files, folder / "in")], folder / "out", films=True)

    def work(self, progress):
        """Colorize what is not made, or not with the hints of now -> HTML of all files."""
        given = {source: self.hints.get(target.name, []) for source, target in self.jobs.pairs}
        before = self.applied
        todo = [pair for pair in self.jobs.pairs if not before or given[pair[0]] != before[pair[0]]]

        def run():
            pictures = [pair for pair in todo if pair[0] not in self.jobs.films]
            colorize_all(pictures, self.colorizer, self.settings, report, hints=given)
            if films := [pair for pair in todo if pair[0] in self.jobs.films]:
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
        again = {path for _, path, _ in report.files}
        self.files = [row for row in self.files if row[1] not in again] + report.files
        self.applied = given
        self.pairs = {t.name: (s, t) for s, t in self.jobs.pairs if t.exists()}
        return report_table(self.files)

    def archive(self):
        """A ZIP of the results; pictures are compressed already."""
        with zipfile.ZipFile(self.folder / "colorized.zip", "w", zipfile.ZIP_STORED) as file:
            for name, (_, target) in self.pairs.items():
                file.write(target, name)
        return file.filename

    def picture(self, name):
        """The result with its hints, at the size of the preview, uint8 (h, w, 3)."""
        pixels, view, ab = network_ab(self.colorizer, self.pairs[name][0], self.settings)
        hints = parse_hints(self.hints.get(name, ()), *pixels.shape[:2], view.area)
        view = view._replace(hints=hints)
        ab = self.colorizer.hinted(view, ab, self.settings)
        return self.colorizer.join(pixels, view, ab, self.settings)

    def click(self, name, x, y):
        """Hold the colour at a pixel of `picture`, until another is picked -> "#rrggbb"."""
        picture = self.picture(name)
        height, width = picture.shape[:2]
        hint = [round((x + 0.5) / width, 5), round((y + 0.5) / height, 5), "keep"]
        self.hints.setdefault(name, []).append(hint)
        return "#" + picture[y, x].tobytes().hex()

    def pick(self, name, colour):
        """Give the last hint a colour, "#rrggbb" or "rgba(r, g, b, a)"."""
        if colour.startswith("rgb"):
            colour = "#" + "".join(f"{round(float(n)):02x}" for n in colour[:-1].split("(")[1].split(",")[:3])
        self.hints[name][-1][2] = colour
        return colour
