"""The whole of colorizing as one ONNX graph, picture in, picture out: what `data.preprocess` does around a network.

The pictures of a batch have one size. Sizes are free, the square that the network sees is fixed in the graph.
"""

import numpy as np

from data import color
from data.edges import canny
from data.preprocess import lightness_of, to_float
from inference.onnx_graph import Graph, concatenate, maximum, minimum, stack, where
from inference.onnx_network import enlarge_nearest

DIAMOND = np.linspace(0, 4, 513)  # "diamond angles", which need no arc tangent: 0, 1, 2, 3 along +a, +b, -a, -b
CODES = np.arange(256, dtype=np.uint8)


def picture_graph(trunk, sides, gray, saturation, metadata):
    """Pictures and a factor -> colour pictures.

    Args:
        trunk: of `network_graph`.
        sides: {input of the network: side of the square that it takes}, "lightness" among them.
        gray: whether the pictures are (N, H, W) or (N, H, W, 3).
        saturation: told in the metadata as the default.
        metadata: {key: text} of the file.

    Returns:
        onnx.ModelProto with the inputs "picture", uint8, and "saturation", float32 (); optional are the inputs of the
        network themselves, float32 (N, S, S, 1), which then take the place of what the picture gives. The outputs are
        "rgb", uint8 (N, H, W, 3), and "ab_small", float32 (N, h, w, 2), in Lab units, before it is enlarged.
    """
    graph = Graph()
    picture = graph.input("picture", "uint8", ["N", "H", "W", *([] if gray else [3])])
    factor = graph.input("saturation", "float32", [])
    size = picture.shape(1, 3)
    if gray:
        picture = picture.node("Unsqueeze", [-1])
    given = {name: graph.optional_input(name, "float32", ["M", side, side, 1]) for name, side in sides.items()}
    views = [given[name].node("Squeeze", [-1]) for name in sides]
    seen = graph.subgraph("seen", lambda: [_view(picture, size, side, gray) for side in sides.values()])
    asis = graph.subgraph("given", lambda: views)
    empty = given["lightness"].node("Size", dtype="int64") < 1
    views = graph.node("If", empty, dtype="float32", outputs=len(views), then_branch=seen, else_branch=asis)
    views = dict(zip(sides, views if len(sides) > 1 else [views]))
    ab = run_trunk(graph, trunk, views)
    small = ab.node("Transpose", perm=[0, 2, 3, 1])
    target = concatenate([ab.shape(0, 2), size], 0)
    ab = (ab * factor).node("Resize", None, None, target, mode="linear", coordinate_transformation_mode="half_pixel")
    a, b = (ab.node("Gather", i, axis=1) for i in range(2))
    lightness = _lightness(picture, gray)
    rgb = _codes(_linear(lightness, *_fit_gamut(lightness, a, b)))
    outputs = {"rgb": (rgb, ["N", "H", "W", 3]), "ab_small": (small, ["K", "h", "w", 2])}
    return graph.model(outputs, metadata=metadata)


def view_graph(trunk, sides, metadata, factor):
    """The bare network: L of any size -> ab of that size. Sides that 8 does not divide are filled up at the far edges.

    Args:
        trunk, sides, metadata: see `picture_graph`.
        factor: of the last enlarging, by which the output is smaller than the picture.

    Returns:
        onnx.ModelProto with the inputs "lightness", float32 (N, H, W, 1), and, if the network has it, "global_lightness",
        (N, S, S, 1), and the outputs "ab", float32 (N, H, W, 2), and "ab_small", before the last enlarging.
    """
    graph = Graph()
    shapes = {name: ["N", "H", "W", 1] if name == "lightness" else ["N", side, side, 1] for name, side in sides.items()}
    views = {name: graph.input(name, "float32", shape).node("Squeeze", [-1]) for name, shape in shapes.items()}
    size = views["lightness"].shape(1, 3)
    fill = (size * -1).node("Mod", graph.constant(8), fmod=0)
    pads = concatenate([graph.constant([0, 0, 0, 0]), fill], 0)
    views["lightness"] = views["lightness"].node("Pad", pads, mode="edge")
    ab = run_trunk(graph, trunk, views)
    small = ab.node("Transpose", perm=[0, 2, 3, 1])
    full = enlarge_nearest(ab, factor).node("Transpose", perm=[0, 2, 3, 1])
    full = full.node("Slice", [0, 0], size, [1, 2])
    return graph.model({"ab": (full, ["N", "H", "W", 2]), "ab_small": (small, ["N", "h", "w", 2])}, metadata=metadata)


def run_trunk(graph, trunk, views):
    """ab (N, 2, h, w) of the views, {input: L (N, H, W)}; edges are found here where the network takes them."""
    given = {name: view.node("Unsqueeze", [1]) for name, view in views.items()}
    if any(i.name == "edges" for i in trunk.graph.input):
        given["edges"] = canny(views["lightness"]).node("Unsqueeze", [1])
    return graph.inline(trunk, given, "network/")[0]


def _view(picture, size, side, gray):
    """L (N, side, side) of uint8 pictures (N, H, W, C), as `data.preprocess.resize` and `lightness_of` give it."""
    graph = picture.graph
    shape = picture.shape()
    rows = _area(size.node("Gather", [0]), side)
    columns = _area(size.node("Gather", [1]), side)
    flat = concatenate([shape.node("Slice", [0], [2], [0]), graph.constant([-1])], 0)
    x = rows.node("MatMul", picture.cast("float32").node("Reshape", flat))  # (N, h, W * C)
    places = concatenate([graph.constant([0, 0]), shape.node("Slice", [2], [4], [0])], 0)
    x = columns.node("MatMul", x.node("Reshape", places)).node("Round")  # (N, h, w, C)
    x = x.node("Transpose", perm=[0, 3, 1, 2])
    target = concatenate([x.shape(0, 2), graph.constant([side, side])], 0)
    options = {"mode": "cubic", "cubic_coeff_a": -0.75, "coordinate_transformation_mode": "half_pixel"}
    x = minimum(maximum(x.node("Resize", None, None, target, **options).node("Round"), 0.0), 255.0)
    x = x.node("Transpose", perm=[0, 2, 3, 1]).cast("uint8")
    return _lightness(x, gray)


def _area(length, side):
    """The averaging of `length` places down to `side`, (min(length, side), length): how much of each a result covers."""
    graph = length.graph
    count = minimum(length, side)
    steps = (graph.node("Range", graph.constant(0), n.node("Squeeze", [0]), graph.constant(1)) for n in (count, length))
    result, source = (step.cast("float32") for step in steps)
    scale = length.cast("float32") / count.cast("float32")
    start = (result * scale)[..., None]
    end = ((result + 1.0) * scale)[..., None]
    return maximum(minimum(end, source + 1.0) - maximum(start, source), 0.0) / scale


def _lightness(picture, gray):
    """L of uint8 pictures (N, H, W, C), 0..100, (N, H, W); sRGB is decoded by table."""
    graph = picture.graph
    if gray:
        table = graph.constant(lightness_of(CODES))
        return table.node("Gather", picture.cast("int32").node("Squeeze", [-1]))
    linear = graph.constant(color.linear_from_srgb(to_float(CODES))).node("Gather", picture.cast("int32"))
    return color.lightness_from_linear(linear)


def _fit_gamut(lightness, a, b):
    """`color.fit_gamut`, its table read at the diamond angle of (a, b) in place of the angle."""
    graph = lightness.graph
    quarter, part = np.divmod(DIAMOND, 1)
    hue = np.arctan2(part, 1 - part) + quarter * np.pi / 2
    table = graph.constant(color.chroma_limit(hue)[None, None])
    chroma = (a * a + b * b).node("Sqrt")
    along = b / maximum(a.node("Abs") + b.node("Abs"), 1e-9)  # -1..1
    angle = where(a < 0.0, 2.0 - along, where(b < 0.0, along + 4.0, along))
    grid = stack([angle * 0.5 - 1.0, lightness * 0.02 - 1.0], 3)  # (N, H, W, 2), -1..1
    flat = concatenate([graph.constant([1, -1]), grid.shape(2, 4)], 0)
    limit = table.node("GridSample", grid.node("Reshape", flat), align_corners=1, padding_mode="border")
    share = minimum(limit.node("Reshape", lightness.shape()) / maximum(chroma, 1e-6), 1.0)
    return a * share, b * share


def _linear(lightness, a, b):
    """`color.linear_from_lab`: planes (N, H, W) -> list of the planes R, G, B."""
    y = lightness * (1 / 116) + 16 / 116
    knee = 0.2068966
    xyz = [where(f > knee, f * f * f, (f - 16 / 116) * (1 / 7.787)) for f in (y + a * (1 / 500), y, y - b * (1 / 200))]
    matrix = color.RGB_FROM_XYZ * color.WHITE
    return [sum(v * float(weight) for v, weight in zip(xyz, row)) for row in matrix]


def _codes(planes):
    """Linear R, G, B -> sRGB, uint8 (N, H, W, 3), by the table of `color.codes_from_linear`."""
    table = planes[0].graph.constant(color.CODE)
    top = float(len(color.CODE) - 1)
    scaled = (minimum(maximum(plane, 0.0), 1.0) * top for plane in planes)
    return stack([table.node("Gather", x.node("Round").cast("int32")) for x in scaled], 3)
