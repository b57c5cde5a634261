"""Films: luma, streams and times are kept, colours follow motion and start anew at a cut."""

import itertools
import re
from fractions import Fraction

import av
import numpy as np
import pytest
from skimage import data

from data.preprocess import lightness_of, resize
from evaluation.film import measure
from inference import film
from inference.film import (
    Codes,
    Smoother,
    colorize_film,
    colorize_films,
    colorize_frames,
)
from inference.jobs import FILM, BadPath, Jobs, find_jobs
from inference.report import Report
from inference.settings import Settings
from pictures.films import BadFilm, is_film

WIDTH, HEIGHT, FRAMES = 96, 64, 20
SETTINGS = Settings()


class Tinted:
    """Stands for a Colorizer: one colour for all, or what `colors` gives for a picture."""

    def __init__(self, colors=lambda picture: (20, 30)):
        self.colors, self.seen = colors, []

    def small_ab(self, pictures, settings):
        self.seen += pictures
        ab = [
            np.broadcast_to(np.float32(self.colors(picture)), (12, 12, 2)) for picture in pictures
        ]
        return np.stack(ab)


def luma(i, bits=8, width=WIDTH, height=HEIGHT):
    """A photograph that moves by 2 pixels a frame, as codes of limited range."""
    picture = resize(data.camera(), height, width + 2 * FRAMES)[:, 2 * i : 2 * i + width]
    codes = np.clip(picture, 16, 235).astype(np.uint16) << (bits - 8)
    return codes.astype(np.uint8 if bits == 8 else np.uint16)


def write(path, form="yuv420p", codec="ffv1", frames=FRAMES, audio=True, size=None, **how):
    """A film of our own -> its lumas. how: pts, tick, options, color, matrix, content."""
    width, height = size or (WIDTH, HEIGHT)
    bits, lumas = 10 if "10" in form else 8, []
    with av.open(str(path), "w") as out:
        out.metadata.update({"title": "a title", "comment": "of ours"})
        video = out.add_stream(
            codec, 25, time_base=how.get("tick", Fraction(1, 1000)), options=how.get("options", {})
        )
        video.width, video.height, video.pix_fmt = width, height, form
        for name, value in how.get("color", {}).items():
            setattr(video.codec_context, name, value)
        video.codec_context.sample_aspect_ratio = Fraction(4, 3)
        video.set_display_matrix(how.get("matrix"))
        if audio:
            sound = out.add_stream("aac", 48000)
            sound.codec_context.layout = "mono"
            sound.metadata["language"] = "deu"
        for i in range(frames):
            codes = how["content"](i) if "content" in how else luma(i, bits, width, height)
            frame = av.VideoFrame(width, height, form)
            for plane in frame.planes:
                rows = np.frombuffer(plane, codes.dtype).reshape(plane.height, -1)
                rows[:] = 128 << (bits - 8)
            rows = np.frombuffer(frame.planes[0], codes.dtype).reshape(height, -1)
            rows[:, :width] = codes
            frame.pts, frame.time_base = how.get("pts", lambda i: 40 * i)(i), Fraction(1, 1000)
            out.mux(video.encode(frame))
            lumas.append(codes)
        if audio:
            samples = np.sin(np.arange(48000 * frames // 25) / 20).astype(np.float32)[None]
            part = av.AudioFrame.from_ndarray(samples, "fltp", "mono")
            part.rate, part.pts = 48000, 0
            out.mux(sound.encode(part))
            out.mux(sound.encode())
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


def plane(frame, index, dtype=np.uint8):
    own = frame.planes[index]
    return np.frombuffer(own, dtype).reshape(own.height, -1)[:, : own.width]


@pytest.mark.parametrize(
    ("form", "suffix", "result"),
    [
        ("yuv420p", ".mkv", "yuv420p"),
        ("yuv420p", ".mp4", "yuv420p"),
        ("yuv422p", ".mkv", "yuv420p"),
        ("gray", ".mkv", "yuv420p"),
        ("yuv420p10le", ".mkv", "yuv420p10le"),
        ("yuv420p10le", ".mp4", "yuv420p10le"),
        ("gray10le", ".mkv", "yuv420p10le"),
    ],
)
def test_lossless_results_have_the_luma_of_the_source(tmp_path, form, suffix, result):
    source, target = tmp_path / "in.mkv", tmp_path / f"out{suffix}"
    lumas = write(source, form)
    summary = colorize_film(source, target, Tinted(), SETTINGS, quality="lossless")
    assert (summary.frames, summary.missing, summary.notes) == (FRAMES, 0, [])
    frames, packets, *_ = read(target)
    assert len(frames) == FRAMES and frames[0].format.name == result
    dtype = lumas[0].dtype
    for frame, codes in zip(frames, lumas, strict=True):
        np.testing.assert_array_equal(plane(frame, 0, dtype), codes)
        assert plane(frame, 2, dtype).mean() > 1.1 * 2 ** (
            8 * dtype.itemsize - 1 - 6 * (dtype != np.uint8)
        )
    assert packets == read(source)[1] and packets


@pytest.mark.parametrize("color_range", [1, 2])
@pytest.mark.parametrize("matrix", [1, 5])
def test_colours_are_those_of_lab_in_the_films_own_matrix_and_range(tmp_path, matrix, color_range):
    source, target = tmp_path / "in.mkv", tmp_path / "out.mkv"
    color = {"colorspace": matrix, "color_range": color_range}
    write(source, color=color, content=lambda i: np.full((HEIGHT, WIDTH), 120, np.uint8), frames=2)
    colorize_film(source, target, Tinted(), SETTINGS, quality="lossless")
    frame = read(target)[0][1]
    assert (frame.colorspace, frame.color_range) == (matrix, color_range)
    y, u, v = (float(plane(frame, i).mean()) for i in range(3))
    low, luma_, chroma = (16, 219, 224) if color_range == 1 else (0, 255, 255)
    red, blue = {1: (0.2126, 0.0722), 5: (0.299, 0.114)}[matrix]
    y, u, v = (y - low) / luma_, (u - 128) / chroma, (v - 128) / chroma
    r, b = y + v * 2 * (1 - red), y + u * 2 * (1 - blue)
    g = (y - red * r - blue * b) / (1 - red - blue)
    from skimage.color import rgb2lab

    a, b = rgb2lab(np.array([[[r, g, b]]]))[0, 0, 1:]
    assert abs(a - 20) < 1 and abs(b - 30) < 1


def test_times_tags_aspect_rotation_and_defaults_are_kept(tmp_path):
    source, target = tmp_path / "in.mov", tmp_path / "out.mp4"
    turned = [0, 65536, 0, -65536, 0, 0, HEIGHT << 16, 0, 1 << 30]
    times = [0, 40, 50, 170, 171, 300, 420, 1000]
    write(source, "yuv420p", "libx264", frames=8, pts=times.__getitem__, matrix=turned)
    colorizer = Tinted()
    assert colorize_film(source, target, colorizer, SETTINGS).frames == 8
    before, after = read(source), read(target)
    assert [f.time for f in after[0]] == [f.time for f in before[0]]
    assert before[0][0].rotation == after[0][0].rotation != 0
    assert after[1] == before[1]
    assert after[2]["title"] == "a title"
    assert after[3].sample_aspect_ratio == Fraction(4, 3)
    assert (after[3].codec_context.name, after[0][0].format.name) == ("h264", "yuv420p")
    assert colorizer.seen[0].shape == (WIDTH // 2, HEIGHT // 2)  # upright
    content = target.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # plays while it loads


def test_chapters_and_subtitles_are_kept_and_what_is_lost_is_named(tmp_path):
    source = tmp_path / "in.mkv"
    plain, lines = tmp_path / "plain.mkv", tmp_path / "lines.srt"
    write(plain, frames=4)
    lines.write_text("1\n00:00:00,010 --> 00:00:00,100\nA line\n")
    with av.open(str(plain)) as one, av.open(str(lines)) as two, av.open(str(source), "w") as out:
        streams = [*one.streams, *two.streams]
        new = {stream: out.add_stream_from_template(stream, opaque=True) for stream in streams}
        new[streams[1]].metadata["language"] = "deu"
        chapter = {"id": 1, "start": 0, "end": 100, "time_base": Fraction(1, 1000)}
        out.set_chapters([chapter | {"metadata": {"title": "one"}}])
        for packet in itertools.chain(one.demux(), two.demux()):
            if packet.size:
                packet.stream = new[packet.stream]
                out.mux(packet)
    assert not colorize_film(source, tmp_path / "out.mkv", Tinted(), SETTINGS).notes
    with av.open(str(tmp_path / "out.mkv")) as result:
        assert [stream.type for stream in result.streams] == ["video", "audio", "subtitle"]
        assert result.streams[1].metadata["language"] == "deu"
        assert result.chapters()[0]["metadata"]["title"] == "one"
        assert b"A line" in b"".join(map(bytes, result.demux(subtitles=0)))
    (note,) = colorize_film(source, tmp_path / "out.mp4", Tinted(), SETTINGS).notes
    assert "subtitle" in note


def test_a_damaged_film_is_coloured_as_far_as_it_can_be_read(tmp_path):
    source, target, packets = (tmp_path / name for name in ("in.avi", "out.mkv", "packets.mkv"))
    write(source, audio=False, tick=Fraction(1, 25), options={"g": "1"})
    content = source.read_bytes()
    source.write_bytes(content[: len(content) // 2])
    summary = colorize_film(source, target, Tinted(), SETTINGS)
    assert 5 < summary.frames < FRAMES and summary.frames + summary.missing == FRAMES
    source.write_bytes(content)
    assert colorize_film(source, target, Tinted(), SETTINGS).missing == 0
    with av.open(str(source)) as one, av.open(str(packets), "w") as out:
        stream = out.add_stream_from_template(one.streams.video[0], opaque=True)
        for i, packet in enumerate(one.demux()):
            if packet.size:
                broken = packet
                if i in (5, 6):
                    broken = av.Packet(b"\xff\xff\xff")
                    broken.pts, broken.dts, broken.time_base = (
                        packet.pts,
                        packet.dts,
                        packet.time_base,
                    )
                broken.stream = stream
                out.mux(broken)
    summary = colorize_film(packets, target, Tinted(), SETTINGS)
    assert (summary.frames, summary.missing) == (FRAMES - 2, 2)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"color": {"color_trc": 16}}, "HDR"),
        (
            {"form": "yuv422p", "codec": "libx264", "options": {"flags": "+ildct+ilme"}},
            "interlaced",
        ),
    ],
)
def test_what_is_not_colorized_is_refused_in_one_line(tmp_path, how, reason):
    source, target = tmp_path / "in.mkv", tmp_path / "out.mkv"
    write(source, frames=3, **how)
    with pytest.raises(BadFilm, match=reason) as error:
        colorize_film(source, target, Tinted(), SETTINGS)
    assert "\n" not in str(error.value) and not target.exists()


def test_files_that_are_no_films(tmp_path):
    (tmp_path / "a.txt").write_text("ffconcat version 1.0\nfile /etc/hostname\n")
    (tmp_path / "b.m3u8").write_text("#EXTM3U\n#EXTINF:1,\n/etc/hostname\n")
    write(tmp_path / "c.mkv", frames=2)
    assert [is_film(tmp_path / name) for name in ("a.txt", "b.m3u8", "c.mkv", "none")] == [
        False,
        False,
        True,
        False,
    ]


@pytest.mark.parametrize("keep", [False, True])
def test_a_stopped_film_leaves_nothing_or_what_is_done(tmp_path, keep):
    source, folder = tmp_path / "in.mkv", tmp_path / "out"
    folder.mkdir()
    write(source)

    def progress(done, total):
        assert abs(total - FRAMES) <= 1  # Matroska tells no more
        if done == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        colorize_film(source, folder / "x.mp4", Tinted(), SETTINGS, keep=keep, progress=progress)
    assert [path.name for path in folder.iterdir()] == ["x.stopped.mp4"] * keep
    if keep:
        assert len(read(folder / "x.stopped.mp4")[0]) == 12


def test_black_borders_stay_neutral_and_unseen(tmp_path):
    def content(i):
        codes = luma(i)
        codes[:12] = codes[-12:] = 16
        return codes * np.uint8(i > 2) + np.uint8(16 * (i <= 2))  # begins black

    source, target, colorizer = tmp_path / "in.mkv", tmp_path / "out.mkv", Tinted()
    write(source, content=content)
    colorize_film(source, target, colorizer, SETTINGS, quality="lossless")
    assert {picture.shape for picture in colorizer.seen} == {((HEIGHT - 24) // 2, WIDTH // 2)}
    v = plane(read(target)[0][-1], 2)
    assert (v[:6] == 128).all() and (v[-6:] == 128).all() and (v[8:-8] > 128).mean() > 0.9


SCENES = [resize(picture, 90, 160 + 40) for picture in (data.camera(), data.coins())]


def smoothed(frames, colors, **how):
    smoother = Smoother(**how)
    result = []
    for frame, color in zip(frames, colors, strict=True):
        ab = np.broadcast_to(np.float32(color), (90, 160, 2))
        result.append(smoother(lightness_of(np.ascontiguousarray(frame)), ab))
    return np.stack(result)


def test_colours_are_smoothed_along_motion_and_cut_where_the_scene_changes():
    frames = [SCENES[i // 20][:, i % 20 : i % 20 + 160] for i in range(40)]
    colors = [(10 + 4 * (-1) ** i, 40 * (i // 20)) for i in range(40)]  # flickers, and changes
    found = smoothed(frames, colors)
    np.testing.assert_array_equal(found[20], np.broadcast_to(np.float32(colors[20]), (90, 160, 2)))
    change = np.abs(np.diff(found[..., 0], axis=0)).mean(axis=(1, 2))
    assert change[[*range(5, 19), *range(25, 39)]].max() < 0.3 * 8
    alone = smoothed(frames, colors, strength=0)
    assert np.abs(np.diff(alone[..., 0], axis=0)).min() == 8


@pytest.mark.parametrize("light", [lambda i: 1 + 0.4 * (i == 10), lambda i: 1 - i / 25])
def test_a_flash_and_a_fade_are_no_cuts(light):
    frames = [np.clip(SCENES[1][:, :160] * light(i), 0, 255).astype(np.uint8) for i in range(20)]
    found = smoothed(frames, [(10 + 4 * (-1) ** i, 0) for i in range(20)])
    assert np.abs(np.diff(found[..., 0], axis=0))[8:12].mean() < 4


def test_colours_do_not_stick_to_the_screen():
    """A coloured square moves over a gray ground; nothing of its colour stays behind."""
    rng = np.random.default_rng(0)
    ground = resize(rng.integers(100, 156, (12, 20), np.uint8), 90, 160)
    square = resize(rng.integers(160, 230, (6, 6), np.uint8), 30, 30)
    smoother = Smoother()
    for i in range(40):
        frame, ab = ground.copy(), np.zeros((90, 160, 2), np.float32)
        frame[30:60, 3 * i : 3 * i + 30] = square
        ab[30:60, 3 * i : 3 * i + 30] = 40
        found = smoother(lightness_of(frame), ab)
    assert found[30:60, 117:147].mean() > 35
    assert np.abs(found[30:60, :110]).mean() < 1


@pytest.mark.parametrize("shape", [(60, 80), (60, 80, 3)])
def test_frames_in_memory(shape):
    drawn = []

    def frames():
        for i in range(30):
            drawn.append(i)
            yield np.broadcast_to(luma(i % FRAMES, 8, 80, 60).reshape(60, 80, -1), (*shape[:2], 3))[
                ..., 0 if len(shape) == 2 else slice(None)
            ]

    results = colorize_frames(frames(), Tinted(), SETTINGS)
    first = next(results)
    assert first.shape == (60, 80, 3) and first.dtype == np.uint8 and len(drawn) < 30
    assert first[..., 0].mean() > first[..., 2].mean() + 20
    assert len(list(results)) == 29
    assert not list(colorize_frames([], Tinted(), SETTINGS))


def test_errors_in_a_thread_reach_the_caller(tmp_path):
    def failing(picture):
        raise RuntimeError("no network")

    write(tmp_path / "in.mkv", frames=4)
    with pytest.raises(RuntimeError, match="no network"):
        colorize_film(tmp_path / "in.mkv", tmp_path / "out.mkv", Tinted(failing), SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]


def test_chroma_of_gray_is_neutral():
    for bits, full, matrix in itertools.product((8, 10), (False, True), film._LUMA):
        codes = Codes(bits, full, matrix)
        luma_ = np.arange(2**bits).reshape(16, -1)
        found = codes.chroma(luma_, np.zeros((4, 4, 2), np.float32)).astype(int)
        assert np.abs(found - 2 ** (bits - 1)).max() <= 1


def test_films_of_a_command(tmp_path):
    """By content, into a file or a folder; those in folders only if they are asked for."""
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    write(folder / "a.mkv", frames=2)
    (folder / "a.mkv").rename(folder / "film")
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
    assert [(kind, path.name) for kind, path, _ in report.files] == [
        ("failed", "b.mp4"),
        ("done", "a.mkv"),
    ]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.mkv"]


def test_measured_films(tmp_path):
    """A tint that flickers does so less when smoothed; the film's own colours do not change."""
    write(tmp_path / "a.mkv", audio=False)
    tints = itertools.cycle([(10, 10), (16, 10)])
    colorizer = Tinted(lambda picture: next(tints))
    colorizer.settings = lambda: SETTINGS
    found = measure(tmp_path / "a.mkv", colorizer)
    assert found["frame by frame"]["flicker"] == pytest.approx(3, abs=0.01)
    assert found["smoothed"]["flicker"] < 0.3 * 3
    assert found["own colours"]["flicker"] < 0.1
    assert found["smoothed"]["psnr"] > 15 and found["smoothed"]["ciede2000"] < 30
