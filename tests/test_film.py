"""Films: luma, streams and times are kept, colours follow motion and start anew at a cut."""

import itertools
import re
from fractions import Fraction

import av
import numpy as np
import pytest
from skimage import color, data

from data.preprocess import lightness_of, resize
from evaluation.film import measure
from inference.film import colorize_film, colorize_films, colorize_frames
from inference.flow import SMOOTH, Smoother
from inference.jobs import FILM, BadPath, Jobs, find_jobs
from inference.report import Report
from inference.settings import Settings
from pictures.films import BadFilm

WIDTH, HEIGHT, FRAMES = 96, 64, 20
MS = Fraction(1, 1000)
SETTINGS = Settings()


class Tinted:
    """Stands for a Colorizer: one colour for all, or what `colors` gives for a picture."""

    def __init__(self, colors=lambda picture: (20, 30)):
        self.colors, self.seen = colors, []

    def settings(self):
        return SETTINGS

    def small_ab(self, pictures, settings):
        self.seen += pictures
        return np.stack([np.tile(np.float32(self.colors(x)), (12, 12, 1)) for x in pictures])


def colorized(source, target, colorizer=None, progress=lambda done, total: None, **how):
    """(the notes, `read` of the result)."""
    colorizer = colorizer or Tinted()
    notes = colorize_film(source, target, colorizer, SETTINGS, progress, SMOOTH, **how)
    return notes, *read(target)


def luma(i, bits=8, width=WIDTH, height=HEIGHT):
    """A photograph that moves by 2 pixels a frame, as codes of limited range."""
    picture = resize(data.camera(), height, width + 2 * FRAMES)[:, 2 * i : 2 * i + width]
    codes = np.clip(picture, 16, 235).astype(np.uint16) << (bits - 8)
    return codes.astype(np.uint8 if bits == 8 else np.uint16)


def plane(frame, index):
    own, deep = frame.planes[index], frame.format.components[0].bits > 8
    rows = np.frombuffer(own, np.uint16 if deep else np.uint8).reshape(own.height, -1)
    return rows[:, : own.width]


def write(path, form="yuv420p", codec="ffv1", frames=FRAMES, audio=True, **how):
    """A film of our own -> its lumas. how: pts, tick, options, color, matrix, content, size."""
    lumas, (width, height) = [], how.get("size", (WIDTH, HEIGHT))
    with av.open(str(path), "w") as out:
        out.metadata["title"] = "a title"
        options = how.get("options", {})
        video = out.add_stream(codec, 25, time_base=how.get("tick", MS), options=options)
        video.width, video.height, video.pix_fmt = width, height, form
        for name, value in how.get("color", {}).items():
            setattr(video.codec_context, name, value)
        video.codec_context.sample_aspect_ratio = Fraction(4, 3)
        video.set_display_matrix(how.get("matrix"))
        if audio:
            track = out.add_stream("aac", 48000)
            track.codec_context.layout = "mono"
            track.metadata["language"] = "deu"
        for i in range(frames):
            bits = 10 if "10" in form else 8
            codes = how["content"](i) if "content" in how else luma(i, bits, width, height)
            frame = av.VideoFrame(width, height, form)
            for index in range(len(frame.planes)):
                plane(frame, index)[:] = 128 << (bits - 8) if index else codes
            frame.pts, frame.time_base = how.get("pts", lambda i: 40 * i)(i), MS
            out.mux(video.encode(frame))
            lumas.append(codes)
        if audio:
            samples = np.sin(np.arange(48000 * frames // 25) / 20).astype(np.float32)[None]
            part = av.AudioFrame.from_ndarray(samples, "fltp", "mono")
            part.rate, part.pts = 48000, 0
            out.mux([*track.encode(part), *track.encode()])
        out.mux(video.encode())
    return lumas


def read(path):
    """(the frames, the packets of other streams, the container's metadata, the video stream)."""
    with av.open(str(path)) as container:
        frames, packets = [], []
        for packet in container.demux():
            if packet.stream.type == "video":
                frames += packet.decode()
            elif packet.size:
                packets.append(bytes(packet))
        return frames, packets, dict(container.metadata), container.streams.video[0]


@pytest.mark.parametrize(
    ("form", "suffix", "result", "size"),
    [
        ("yuv420p", ".mkv", "yuv420p", (WIDTH, HEIGHT)),
        ("yuv420p", ".mp4", "yuv420p", (WIDTH, HEIGHT)),
        ("yuv422p", ".mkv", "yuv420p", (WIDTH, HEIGHT)),
        ("gray", ".mkv", "yuv444p", (WIDTH + 1, HEIGHT)),
        ("yuv420p10le", ".mkv", "yuv420p10le", (WIDTH, HEIGHT)),
        ("yuv420p10le", ".mp4", "yuv420p10le", (WIDTH, HEIGHT)),
        ("gray10le", ".mkv", "yuv420p10le", (WIDTH, HEIGHT)),
    ],
)
def test_lossless_results_have_the_luma_of_the_source(tmp_path, form, suffix, result, size):
    source, target = tmp_path / "in.mkv", tmp_path / f"out{suffix}"
    lumas = write(source, form, size=size)
    notes, frames, packets, *_ = colorized(source, target, quality="lossless")
    assert not notes and len(frames) == FRAMES and frames[0].format.name == result
    for frame, codes in zip(frames, lumas, strict=True):
        np.testing.assert_array_equal(plane(frame, 0), codes)
        assert plane(frame, 2).mean() > (141 << 2 * ("10" in form))
    assert packets == read(source)[1] and packets


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [1, 5])
@pytest.mark.parametrize("form", ["yuv420p", "yuv420p10le"])
def test_colours_are_those_of_lab_in_the_films_own_matrix_and_range(tmp_path, form, matrix, full):
    source, unit = tmp_path / "in.mkv", 4 if "10" in form else 1
    how = {"color": {"colorspace": matrix, "color_range": 1 + full}, "frames": 2}
    write(source, form, content=lambda i: np.full((HEIGHT, WIDTH), 120 * unit), **how)
    for ab in ((20, 30), (0, 0)):
        tint = Tinted(lambda picture, ab=ab: ab)
        (frame, _), *_ = colorized(source, tmp_path / "out.mkv", tint, quality="lossless")[1:]
        assert (frame.colorspace, frame.color_range) == (matrix, 1 + full)
        y, u, v = (float(plane(frame, i).mean()) / unit for i in range(3))
        low, span, chroma = (0, 255, 255) if full else (16, 219, 224)
        red, blue = {1: (0.2126, 0.0722), 5: (0.299, 0.114)}[matrix]
        y, u, v = (y - low) / span, (u - 128) / chroma, (v - 128) / chroma
        r, b = y + v * 2 * (1 - red), y + u * 2 * (1 - blue)
        g = (y - red * r - blue * b) / (1 - red - blue)
        assert np.abs(color.rgb2lab([[[r, g, b]]])[0, 0, 1:] - ab).max() < 1


def test_times_tags_aspect_rotation_and_defaults_are_kept(tmp_path):
    source, target, colorizer = tmp_path / "in.mov", tmp_path / "out.mp4", Tinted()
    turned = [0, 65536, 0, -65536, 0, 0, HEIGHT << 16, 0, 1 << 30]
    times = [0, 40, 50, 170, 171, 300, 420, 1000]
    write(source, "yuv420p", "libx264", frames=8, pts=times.__getitem__, matrix=turned)
    before, after = read(source), colorized(source, target, colorizer)[1:]
    assert [f.time for f in after[0]] == [f.time for f in before[0]]
    assert before[0][0].rotation == after[0][0].rotation != 0
    assert after[1] == before[1] and after[2]["title"] == "a title"
    assert after[3].sample_aspect_ratio == Fraction(4, 3)
    assert (after[3].codec_context.name, after[0][0].format.name) == ("h264", "yuv420p")
    assert colorizer.seen[0].shape == (WIDTH // 2, HEIGHT // 2)  # upright
    content = target.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # plays while it loads


def test_chapters_and_subtitles_are_kept_and_what_is_lost_is_named(tmp_path):
    source, plain, lines = (tmp_path / name for name in ("in.mkv", "plain.mkv", "lines.srt"))
    write(plain, frames=4)
    lines.write_text("1\n00:00:00,010 --> 00:00:00,100\nA line\n")
    with av.open(str(plain)) as one, av.open(str(lines)) as two, av.open(str(source), "w") as out:
        streams = [*one.streams, *two.streams]
        new = {stream: out.add_stream_from_template(stream, opaque=True) for stream in streams}
        new[streams[1]].metadata["language"] = "deu"
        chapter = {"id": 1, "start": 0, "end": 100, "time_base": MS, "metadata": {"title": "one"}}
        out.set_chapters([chapter])
        for packet in itertools.chain(one.demux(), two.demux()):
            if packet.size:
                packet.stream = new[packet.stream]
                out.mux(packet)
    assert not colorized(source, tmp_path / "out.mkv")[0]
    with av.open(str(tmp_path / "out.mkv")) as result:
        assert [stream.type for stream in result.streams] == ["video", "audio", "subtitle"]
        assert result.streams[1].metadata["language"] == "deu"
        assert result.chapters()[0]["metadata"]["title"] == "one"
        assert b"A line" in b"".join(map(bytes, result.demux(subtitles=0)))
    (note,) = colorized(source, tmp_path / "out.mp4")[0]
    assert "subtitle" in note


def test_a_damaged_film_is_coloured_as_far_as_it_can_be_read(tmp_path):
    source, target, packets = (tmp_path / name for name in ("in.avi", "out.mkv", "packets.mkv"))
    write(source, audio=False, tick=Fraction(1, 25), options={"g": "1"})
    assert not colorized(source, target)[0]
    with av.open(str(source)) as one, av.open(str(packets), "w") as out:
        stream = out.add_stream_from_template(one.streams.video[0], opaque=True)
        for i, packet in enumerate(one.demux()):
            if packet.size:
                new = av.Packet(b"\xff\xff\xff" if i in (5, 6) else bytes(packet))
                new.pts, new.dts, new.time_base = packet.pts, packet.dts, packet.time_base
                new.stream = stream
                out.mux(new)
    notes, frames, *_ = colorized(packets, target)
    assert len(frames) == FRAMES - 2 and notes == ["2 frames could not be decoded"]
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    notes, frames, *_ = colorized(source, target)
    assert 5 < len(frames) < FRAMES
    assert notes == [f"{FRAMES - len(frames)} frames could not be decoded"]


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"color": {"color_trc": 16}}, "HDR"),
        ({"codec": "libx264", "options": {"flags": "+ildct+ilme"}}, "interlaced"),
    ],
)
def test_what_is_not_colorized_is_refused_in_one_line(tmp_path, how, reason):
    write(tmp_path / "in.mkv", frames=3, **how)
    with pytest.raises(BadFilm, match=f"^{reason}.*$"):
        colorized(tmp_path / "in.mkv", tmp_path / "out.mkv")
    assert not (tmp_path / "out.mkv").exists()


@pytest.mark.parametrize("keep", [False, True])
def test_a_stopped_film_leaves_nothing_or_what_is_done(tmp_path, keep):
    source, folder = tmp_path / "in.mkv", tmp_path / "out"
    folder.mkdir()
    write(source)

    def progress(done, total):
        assert abs(total - FRAMES) <= 1  # Matroska tells no more
        if done == 12:
            raise KeyboardInterrupt

    with pytest.raises(ZeroDivisionError):  # in a thread
        colorized(source, folder / "x.mp4", Tinted(lambda picture: 1 / 0))
    with pytest.raises(KeyboardInterrupt):
        colorized(source, folder / "x.mp4", progress=progress, keep=keep)
    assert [path.name for path in folder.iterdir()] == ["x.stopped.mp4"] * keep
    assert not keep or len(read(folder / "x.stopped.mp4")[0]) == 12


def test_black_borders_stay_neutral_and_unseen(tmp_path):
    def content(i):
        codes = luma(i)
        codes[:12] = codes[-12:] = 16
        return codes if i > 2 else np.full_like(codes, 16)  # begins black

    colorizer = Tinted()
    write(tmp_path / "in.mkv", content=content)
    found = colorized(tmp_path / "in.mkv", tmp_path / "out.mkv", colorizer, quality="lossless")
    assert {len(picture) for picture in colorizer.seen} == {HEIGHT // 2 - 12}
    v = plane(found[1][-1], 2)
    assert (v[:6] == 128).all() and (v[-6:] == 128).all()
    assert ((v[6:-6] > 128).mean(axis=1) > 0.8).all()  # also the lines beside the borders


SCENES = [resize(picture, 90, 160 + 40) for picture in (data.camera(), data.coins())]


def smoothed(frames, colors, **how):
    smoother, result = Smoother(**how), []
    for frame, ab in zip(frames, colors, strict=True):
        ab = np.tile(np.float32(ab), (90, 160, 1))
        result.append(smoother(lightness_of(np.ascontiguousarray(frame)), ab))
    return np.stack(result)


def test_colours_are_smoothed_along_motion_and_cut_where_the_scene_changes():
    frames = [SCENES[i // 20][:, i % 20 : i % 20 + 160] for i in range(40)]
    colors = [(10 + 4 * (-1) ** i, 40 * (i // 20)) for i in range(40)]  # flickers, and changes
    found = smoothed(frames, colors)
    assert (found[20] == colors[20]).all()
    change = np.abs(np.diff(found[..., 0], axis=0)).mean(axis=(1, 2))
    assert change[[*range(5, 19), *range(25, 39)]].max() < 0.3 * 8
    assert np.abs(np.diff(smoothed(frames, colors, strength=0)[..., 0], axis=0)).min() == 8


@pytest.mark.parametrize("light", [lambda i: 1 + 0.4 * (i == 10), lambda i: 1 - i / 25])
def test_a_flash_and_a_fade_are_no_cuts(light):
    frames = [np.clip(SCENES[1][:, :160] * light(i), 0, 255).astype(np.uint8) for i in range(20)]
    found = smoothed(frames, [(10 + 4 * (-1) ** i, 0) for i in range(20)])
    assert np.abs(np.diff(found[..., 0], axis=0))[8:12].mean() < 4


def test_colours_do_not_stick_to_the_screen():
    """A coloured square moves over a gray ground; nothing of its colour stays behind."""
    rng, smoother = np.random.default_rng(0), Smoother()
    ground = resize(rng.integers(100, 156, (12, 20), np.uint8), 90, 160)
    square = resize(rng.integers(160, 230, (6, 6), np.uint8), 30, 30)
    for i in range(40):
        frame, ab = ground.copy(), np.zeros((90, 160, 2), np.float32)
        frame[30:60, 3 * i : 3 * i + 30] = square
        ab[30:60, 3 * i : 3 * i + 30] = 40
        found = smoother(lightness_of(frame), ab)
    assert found[30:60, 117:147].mean() > 35 and np.abs(found[30:60, :110]).mean() < 1


@pytest.mark.parametrize("channels", [0, 3])
def test_frames_in_memory(channels):
    drawn = []

    def frames():
        for i in range(30):
            drawn.append(i)
            gray = luma(i % FRAMES, 8, 80, 60)
            yield np.dstack([gray] * channels) if channels else gray

    results = colorize_frames(frames(), Tinted(), SETTINGS)
    first = next(results)
    assert first.shape == (60, 80, 3) and first.dtype == np.uint8 and len(drawn) < 30
    assert first[..., 0].mean() > first[..., 2].mean() + 20
    assert len(list(results)) == 29
    assert not list(colorize_frames([], Tinted(), SETTINGS))


def test_films_of_a_command(tmp_path):
    """By content, into a file or a folder; those in folders only if they are asked for."""
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    write(tmp_path / "a.mkv", frames=2)
    (tmp_path / "a.mkv").rename(folder / "film")
    (folder / "list.txt").write_text("ffconcat version 1.0\nfile film\n")
    (folder / "b.avi").write_bytes(b"damaged")
    (folder / "c.png").write_bytes(b"a picture by its name")
    jobs = find_jobs([folder], out)
    assert [pair[0].name for pair in jobs.pairs] == ["c.png"] and not jobs.films
    assert sorted(p.name for p, why in jobs.passed_over if why == FILM) == ["b.avi", "film"]
    targets = {source.name: target for source, target in find_jobs([folder], out, films=True).pairs}
    assert targets == {"c.png": out / "c.png", "b.avi": out / "b.mkv", "film": out / "film.mkv"}
    assert find_jobs([folder / "film"], out / "x.mp4").pairs == [(folder / "film", out / "x.mp4")]
    assert find_jobs([folder / "film"], out).pairs == [(folder / "film", out / "film.mkv")]
    for source, name in (("film", "x.png"), ("film", "x.avi"), ("c.png", "x.mp4")):
        with pytest.raises(BadPath, match=re.escape(name)):
            find_jobs([folder / source], tmp_path / name)


def test_films_and_what_fails_are_reported(tmp_path):
    write(tmp_path / "a.mkv", frames=3)
    (tmp_path / "b.mp4").write_bytes(b"damaged")
    pairs = [(tmp_path / name, tmp_path / "out" / name) for name in ("b.mp4", "a.mkv")]
    with Report(Jobs(pairs)) as report:
        colorize_films(pairs, Tinted(), SETTINGS, report)
    assert [x[:2] for x in report.files] == [("failed", pairs[0][0]), ("done", pairs[1][0])]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.mkv"]


def test_measured_films(tmp_path):
    """A tint that flickers does so less when smoothed; the film's own colours do not change."""
    write(tmp_path / "a.mkv", audio=False)
    tints = itertools.cycle([(10, 10), (16, 10)])
    found = measure(tmp_path / "a.mkv", Tinted(lambda picture: next(tints)))
    assert found["frame by frame"]["flicker"] == pytest.approx(3, abs=0.01)
    assert found["smoothed"]["flicker"] < 0.3 * 3 and found["own colours"]["flicker"] < 0.1
    assert found["smoothed"]["psnr"] > 15 and found["smoothed"]["ciede2000"] < 30
