"""Which files are films, by name or content. PyAV is imported only where a file is opened."""

import contextlib
import os
from pathlib import Path

from pictures.formats import looks_like_picture
from utils import PARTIAL

FILMS = (".mp4", ".m4v", ".mov", ".mkv")  # that can be written; others become .mkv
# of files that are films even where they are too damaged to look like one
SUFFIXES = (*FILMS, ".avi", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".vob", ".mts")
# FFmpeg also opens pictures, texts, and playlists that name other files
_CONTAINERS = (
    "mov,matroska,avi,asf,mpeg,mpegts,mpegvideo,flv,ogg,dv,mxf,nut,ivf,rm,h264,hevc,m4v,wtv,vc1,obu"
)


class BadFilm(ValueError):
    """A film that cannot be colorized. The message is one line."""


def open_film(path):
    """The container of a film, of PyAV. Raises BadFilm."""
    try:
        import av
    except ModuleNotFoundError as error:
        raise BadFilm("films need the package av: pip install av") from error
    options = {"protocol_whitelist": "file", "format_whitelist": _CONTAINERS}
    try:
        return av.open(os.fspath(path), options=options, metadata_errors="replace")
    except av.FFmpegError as error:
        raise BadFilm(f"not a film that FFmpeg reads: {error.strerror}") from error


def video_streams(container):
    """The streams of a container that are films, not covers."""
    streams = container.streams.video
    return [s for s in streams if not s.disposition & type(s.disposition).attached_pic]


def is_film(path):
    """Whether a file is a film: by its name, or by its content if it is not named as a picture."""
    path = Path(path)
    if looks_like_picture(path) or path.name.startswith((".", PARTIAL)) or not path.is_file():
        return False
    if path.suffix.lower() in SUFFIXES:
        return True
    with contextlib.suppress(BadFilm), open_film(path) as container:
        return bool(video_streams(container))
    return False
