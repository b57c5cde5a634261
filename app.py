"""A page in the browser that colorizes pictures as test.py does: `make app`.

It is served to this machine alone: no analytics, no fonts or scripts of other servers.
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
import zipfile
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict
from pathlib import Path

try:
    from data.preprocess import shrink
    from inference.folder import colorize_all
    from inference.hints import parse_hints, read_hints
    from inference.jobs import find_jobs, number_outputs
    from inference.options import DEFAULT_MODEL
    from inference.report import Report
    from pictures.films import FILMS
    from pictures.reader import BadPicture, read_rgb
    from utils import number
except ModuleNotFoundError as error:
    sys.exit(f"app.py: {error}: run `make app`")

FILE_BYTES = 400 * 2**20  # at most, each
PREVIEW = 1600  # px of the longer side of what the browser is given
CACHE = 3600, 86400  # s: every hour, uploads and results older than a day are removed


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    add = parser.add_argument
    add("--model", type=Path, default=DEFAULT_MODEL, help="network: .keras, .h5 or .onnx")
    add("--port", type=number(int, 1, 65535), default=7860, help="default 7860")
    add("--no-browser", action="store_true", help="do not open a browser")
    options = parser.parse_args(arguments)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    from colorizer import Colorizer

    try:
        colorizer = Colorizer(options.model)
        print(f"the page: http://127.0.0.1:{options.port} (Ctrl-C ends it)", flush=True)
        with tempfile.TemporaryDirectory(prefix="colorized-", ignore_cleanup_errors=True) as folder:
            os.environ["GRADIO_TEMP_DIR"] = str(Path(folder, "uploads"))
            page(colorizer, Path(folder)).queue(default_concurrency_limit=1).launch(
                server_name="127.0.0.1",
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
    """The page, gradio.Blocks. Each request gets a folder of its own in `root`."""
    import gradio as gr

    refused = functools.partial(gr.Error, print_exception=False)
    working = {}  # session: its Job

    def colorize(files, factor, old, request: gr.Request, progress=gr.Progress()):  # noqa: B008
        if not files:
            raise refused("Choose pictures first.")
        job = Job(files, root, colorizer, colorizer.settings(factor, old=old))
        working[request.session_hash] = job
        return job, gr.Column(visible=True), *make(job, progress)

    def closed(request: gr.Request):
        if job := working.pop(request.session_hash, None):
            job.closed = True

    def make(job, progress=gr.Progress()):  # noqa: B008
        try:
            table = job.work(progress)
        except OSError as error:
            raise refused(f"The results cannot be written: {error.strerror}.") from error
        names, files = [*job.pairs], [str(target) for _, target in job.pairs.values()]
        chosen = gr.Dropdown(names, value=names[0] if names else None, visible=len(names) > 1)
        return table, chosen, files, job.archive() if names else None

    def show(name, job):
        source, target = job.pairs.get(name, (None, Path()))
        film = target.suffix.lower() in FILMS
        shown = (preview(source), preview(target)) if source and not film else None
        player = gr.Video(str(target) if film else None, visible=film)
        canvas = shown and (job.picture(name) if job.hints.get(source) else shown[1])
        return gr.Tabs(visible=not film), shown, player, canvas, *listed(name, job)

    def listed(name, job):
        labels = job.labels(name)
        return gr.Dropdown(labels, value=labels), job.save()

    def edit(change):
        def edited(name, job, *values):
            try:
                return change(job, name, *values), *listed(name, job)
            except ValueError as error:
                raise refused(str(error)) from error

        return edited

    def click(name, job, event: gr.SelectData):
        drawn = edit(Job.click)(name, job, *event.index)
        x, y = event.index
        return "#" + drawn[0][y, x].tobytes().hex(), *drawn

    with gr.Blocks(title="Colorize", analytics_enabled=False, delete_cache=CACHE) as blocks:
        gr.Markdown("**Colorize.** All work is done on this machine. Nothing is sent anywhere.")
        job = gr.State(None)  # an hour after the page was closed it goes, with its files
        with gr.Row():
            with gr.Column(scale=1):
                files = gr.File(label="Pictures and films", file_count="multiple", height=130)
                with gr.Accordion("Options", open=False):
                    factor = gr.Slider(0, 2, colorizer.saturation, step=0.01, label="Saturation")
                    old = gr.Checkbox(label="Old photographs: look past fading, takes longer")
                start = gr.Button("Colorize", variant="primary")
            with gr.Column(scale=2):
                how = {"show_label": False, "container": False, "interactive": True}
                chosen = gr.Dropdown([], label="Result", visible=False, **how)
                with gr.Tabs() as tabs:
                    with gr.Tab("Before and after"):
                        how = {"interactive": False, "max_height": 560, "buttons": ["fullscreen"]}
                        slider = gr.ImageSlider(show_label=False, **how)
                    with gr.Tab("Put colours right"):
                        gr.Markdown("Click where a colour is wrong, then choose the right one.")
                        how = {"format": "jpeg", "interactive": False, "elem_id": "canvas"}
                        canvas = gr.Image(show_label=False, height=400, buttons=[], **how)
                        with gr.Row():
                            picker = gr.ColorPicker(label="Colour at the last place")
                            undo = gr.Button("Undo")
                            full = gr.Button("Apply at full size")
                        hints = gr.Dropdown([], label="Places", multiselect=True, interactive=True)
                        with gr.Row():
                            save = gr.DownloadButton("Save hints")
                            load = gr.UploadButton("Load hints", file_types=[".json"])
                player = gr.Video(show_label=False, interactive=False, visible=False, height=560)
        with gr.Column(visible=False) as results:
            table = gr.HTML(elem_id="report", max_height=300)
            how = {"file_count": "multiple", "interactive": False, "height": 160}
            single = gr.File(label="Results, at full size", **how)
            together = gr.DownloadButton("Download all as ZIP")
        made, given, drawn = [table, chosen, single, together], [chosen, job], [canvas, hints, save]
        how = {"show_progress_on": [slider, canvas, player]}
        done = start.click(colorize, [files, factor, old], [job, results, *made], **how)
        again = full.click(make, job, made, **how)
        for event in (done.success, again.success, chosen.input):
            event(show, given, [tabs, slider, player, *drawn])
        canvas.select(click, given, [picker, *drawn])
        picker.input(edit(Job.pick), [*given, picker], drawn, trigger_mode="always_last")
        undo.click(edit(lambda job, name: job.picture(name, job.of(name)[:-1])), given, drawn)
        hints.input(edit(Job.keep), [*given, hints], drawn)
        load.upload(edit(Job.load), [*given, load], drawn)
        blocks.unload(closed)
    return blocks


class Job:
    """The files of a request, their results, and the hints of a person."""

    def __init__(self, files, root, colorizer, settings):
        self.temporary = tempfile.TemporaryDirectory(dir=root)  # removed with the last reference
        self.folder, self.colorizer, self.settings = Path(self.temporary.name), colorizer, settings
        (own := self.folder / "in").mkdir()
        for file, copy in number_outputs([(file, own / Path(file).name) for file in files]):
            shutil.copyfile(file, copy)
        self.jobs = find_jobs([own], self.folder / "out", films=True)
        self.pairs, self.rows = {}, {}  # name of a result: (input, result); path: row of Report
        self.closed = False  # whether the page is, and what is not made yet is not wanted
        self.hints, self.stale = {}, set()  # input: hints; inputs whose result has others

    def work(self, progress):
        """Colorize all, later what has other hints -> HTML of what became of each file."""
        todo = [pair for pair in self.jobs.pairs if not self.rows or pair[0] in self.stale]
        films = [pair for pair in todo if pair[0] in self.jobs.films]
        pictures = [pair for pair in todo if pair not in films]

        def run():
            colorize_all(pictures, self.colorizer, self.settings, report, hints=self.hints)
            if films:
                from inference.film import colorize_films

                colorize_films(films, self.colorizer, self.settings, report)

        with Report(self.jobs) as report, ThreadPoolExecutor(1) as worker:
            working = worker.submit(run)
            while wait([working], 0.1).not_done:
                seen = report.counts["done"] + report.counts["failed"]
                unit = "frames" if report.frames else "files"
                report.stopped = self.closed
                progress(report.frames or (seen, len(todo)), unit=unit)
            with contextlib.suppress(KeyboardInterrupt):  # of `report`
                working.result()
        self.stale.clear()
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
        """The hints of a result."""
        return self.hints.get(self.pairs.get(name, [None])[0], [])

    def picture(self, name, hints=None):
        """A result at the size of the preview, uint8 (h, w, 3), from here on with these hints."""
        source = self.pairs[name][0]
        pixels, view, ab = network_ab(self.colorizer, source, self.settings)
        found = parse_hints(self.of(name) if hints is None else hints, *pixels.shape[:2], view.area)
        view = view._replace(hints=found)
        if hints is not None:
            self.hints[source] = hints
            self.stale.add(source)
        ab = self.colorizer.hinted(view, ab, self.settings)
        return self.colorizer.join(pixels, view, ab, self.settings)

    def click(self, name, x, y):
        """Hold the colour at a pixel of `picture`, until another is picked."""
        pixels, *_ = network_ab(self.colorizer, self.pairs[name][0], self.settings)
        place = [round((at + 0.5) / n, 5) for at, n in zip((x, y), pixels.shape[1::-1])]
        return self.picture(name, [*self.of(name), [*place, "keep"]])

    def pick(self, name, colour):
        """Give the last hint a colour, "#rrggbb" or "rgba(r, g, b, a)"."""
        if colour.startswith("rgb"):
            parts = re.findall(r"[\d.]+", colour)[:3]
            colour = "#" + bytes(round(float(part)) for part in parts).hex()
        last = [[x, y, colour, *radius] for x, y, _, *radius in self.of(name)[-1:]]
        return self.picture(name, self.of(name)[:-1] + last)

    def labels(self, name):
        return [f"{i}: {c} at {x:g}, {y:g}" for i, (x, y, c, *_) in enumerate(self.of(name), 1)]

    def keep(self, name, labels):
        """Remove the hints whose labels are not among these."""
        pairs = zip(self.labels(name), self.of(name))
        return self.picture(name, [hint for label, hint in pairs if label in labels])

    def save(self):
        """Write the hints for test.py -> path."""
        path = self.folder / "hints.json"
        path.write_text(json.dumps({s.name: hints for s, hints in self.hints.items() if hints}))
        return str(path)

    def load(self, name, path):
        """Read a file of hints of any of the pictures."""
        self.hints |= (found := read_hints(path, [source for source, _ in self.pairs.values()], []))
        self.stale |= {*found}
        return self.picture(name)


@functools.lru_cache(8)
def network_ab(colorizer, path, settings):
    """(preview, NetworkView, the network's ab) of a picture."""
    pixels = preview(path)
    ((view, ab),) = colorizer.predict([pixels], **asdict(settings))
    return pixels, view, ab


def report_table(files):
    """HTML of what became of the files, [(kind, path, note)]; what went wrong comes first."""
    rows = sorted(files, key=lambda row: (row[0] == "done", row[1].name))
    cells = [(path.name, f"{kind}: {note}" if note else kind) for kind, path, note in rows]
    lines = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in cells)
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def preview(path):
    """A picture for the browser, uint8 (h, w, 3); None if it can no longer be read."""
    with contextlib.suppress(BadPicture, OSError):
        return shrink(read_rgb(path, PREVIEW), PREVIEW)


if __name__ == "__main__":
    for name in {"SIGTERM", "SIGHUP"} & {*dir(signal)}:  # as Ctrl-C: no picture is left behind
        signal.signal(getattr(signal, name), signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        main()
    os._exit(130)  # a film in work would go on, and make its folder again
