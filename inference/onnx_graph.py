"""ONNX graphs written as NumPy writes arrays: `data.color` and `data.edges` take a `Value` as they take an array.

A Value stands for an output of a node. Operators, indexing and the functions below, which have the names and meanings of
NumPy's and keras.ops', add nodes to its graph. Only what the recipe uses is here.
"""

import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET, IR = 18, 10  # read by ONNX Runtime from 1.18 on
END = 2**63 - 1
HALF_FROM = 1024  # constants of as many numbers are stored in half precision where that rounds none of them
_TYPES = {
    "float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "int64": TensorProto.INT64,
    "int32": TensorProto.INT32, "uint8": TensorProto.UINT8, "bool": TensorProto.BOOL,
}  # fmt: skip


class Graph:
    """Nodes and constants in the order of computing."""

    def __init__(self):
        self.nodes, self.constants, self.inputs, self.count, self.names = [], {}, [], 0, set()

    def input(self, name, dtype, shape):
        """A value that is given from outside; `shape` holds numbers and names of free dimensions."""
        self.inputs.append(helper.make_tensor_value_info(name, _TYPES[dtype], shape))
        return Value(self, name, dtype)

    def optional_input(self, name, dtype, shape):
        """The same for one that may be left out: it then has no elements, 0 in place of the first dimension."""
        value = self.input(name, dtype, shape)
        self.constants[name] = numpy_helper.from_array(np.zeros((0, *shape[1:]), dtype), name)
        return value

    def constant(self, array, name=None):
        """An array as a Value. Float arrays are float32; large ones that half precision holds exactly are stored in it."""
        array = np.asarray(array)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        name = name or self._name("constant")
        with np.errstate(over="ignore"):
            half = array.astype(np.float16) if array.dtype == np.float32 and array.size >= HALF_FROM else None
        if half is not None and np.array_equal(half, array):
            return Value(self, self._store(half, name), "float16").cast("float32")
        return Value(self, self._store(array, name), str(array.dtype))

    def _store(self, array, name):
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
        return name

    def _name(self, kind):
        self.count += 1
        return f"{kind.lower()}_{self.count}"

    def node(self, op, *inputs, dtype=None, name=None, outputs=1, **attributes):
        """Add a node; its output, or the list of its outputs. `dtype`: of the output, else that of the first input."""
        values = [i if isinstance(i, Value) or i is None else self.constant(i) for i in inputs]
        names = [self._name(name or op) for _ in range(outputs)]
        if name and name not in self.names:
            names = [name]
            self.names.add(name)
        self.nodes.append(helper.make_node(op, [v.name if v else "" for v in values], names, name=names[0], **attributes))
        found = [Value(self, n, dtype or values[0].dtype) for n in names]
        return found[0] if outputs == 1 else found

    def subgraph(self, name, write, inputs=()):
        """A GraphProto of what `write(*inputs)` adds, for the body of a Loop or a branch of an If.

        `inputs` are (name, dtype, shape); `write` returns Values, which may be any of this graph.
        """
        outer, self.nodes = self.nodes, []
        given = [Value(self, self._name(n), dtype) for n, dtype, _ in inputs]
        results = [self.node("Identity", v) for v in write(*given)]
        infos = [helper.make_tensor_value_info(v.name, _TYPES[v.dtype], s) for v, (*_, s) in zip(given, inputs)]
        outputs = [helper.make_tensor_value_info(v.name, _TYPES[v.dtype], None) for v in results]
        body = helper.make_graph(self.nodes, name, infos, outputs)
        self.nodes = outer
        return body

    def inline(self, model, given, prefix):
        """Add the nodes of another model; `given`: {its input: Value}. Its outputs, as a list."""
        graph, rename = model.graph, {name: value.name for name, value in given.items()}

        def renamed(name):
            return rename.get(name, f"{prefix}{name}") if name else ""

        for tensor in graph.initializer:
            copy = onnx.TensorProto()
            copy.CopyFrom(tensor)
            copy.name = renamed(tensor.name)
            self.constants[copy.name] = copy
        for node in graph.node:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.name = f"{prefix}{node.name}"
            copy.input[:] = map(renamed, node.input)
            copy.output[:] = map(renamed, node.output)
            self.nodes.append(copy)
        return [Value(self, renamed(output.name), "float32") for output in graph.output]

    def model(self, outputs, name="colorizer", metadata=()):
        """The ModelProto; `outputs`: {name: (Value, shape)}, `metadata`: {key: text}."""
        infos = []
        for output, (value, shape) in outputs.items():
            self.nodes.append(helper.make_node("Identity", [value.name], [output], name=output))
            infos.append(helper.make_tensor_value_info(output, _TYPES[value.dtype], shape))
        graph = helper.make_graph(self.nodes, name, self.inputs, infos, list(self.constants.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
        helper.set_model_props(model, dict(metadata))
        return model


class Value:
    """An output of a node."""

    library = sys.modules[__name__]  # see data.arrays.library
    __array_ufunc__ = None  # NumPy scalars leave their operators to this class

    def __init__(self, graph, name, dtype):
        self.graph, self.name, self.dtype = graph, name, dtype

    def _with(self, op, other, swap=False, dtype=None):
        pair = (self, self._like(other))
        return self.graph.node(op, *(pair[::-1] if swap else pair), dtype=dtype or self.dtype)

    def _like(self, other):
        return other if isinstance(other, Value) else self.graph.constant(np.asarray(other, self.dtype))

    def __add__(self, other):
        return self._with("Add", other)

    def __radd__(self, other):
        return self if isinstance(other, (int, float)) and other == 0 else self._with("Add", other)

    def __sub__(self, other):
        return self._with("Sub", other)

    def __rsub__(self, other):
        return self._with("Sub", other, swap=True)

    def __mul__(self, other):
        return self._with("Mul", other)

    __rmul__ = __mul__

    def __truediv__(self, other):
        return self._with("Div", other)

    def __lt__(self, other):
        return self._with("Less", other, dtype="bool")

    def __gt__(self, other):
        return self._with("Greater", other, dtype="bool")

    def __ge__(self, other):
        return self._with("GreaterOrEqual", other, dtype="bool")

    def __getitem__(self, key):
        """Slices from the first axis on, or (..., index) and (..., None) for the last."""
        key = key if isinstance(key, tuple) else (key,)
        if key[0] is Ellipsis:
            (last,) = key[1:]
            return self.node("Unsqueeze", [-1]) if last is None else self.node("Gather", last, axis=-1)
        axes = [i for i, part in enumerate(key) if part != slice(None)]
        starts = [key[i].start or 0 for i in axes]
        ends = [END if key[i].stop is None else key[i].stop for i in axes]
        return self.node("Slice", starts, ends, axes)

    def node(self, op, *others, **attributes):
        """A node of which this is the first input."""
        return self.graph.node(op, self, *others, **attributes)

    def cast(self, dtype):
        """The same numbers as another type."""
        return self if dtype == self.dtype else self.node("Cast", to=_TYPES[dtype], dtype=dtype)

    def shape(self, start=0, end=None):
        """The dimensions from `start` to `end`, int64 (n,)."""
        return self.node("Shape", dtype="int64", start=start, **({} if end is None else {"end": end}))


def cast(x, dtype):
    return x.cast(dtype)


def pad(x, widths):
    before, after = zip(*widths)
    return x.node("Pad", [*before, *after])


def concatenate(values, axis):
    return values[0].graph.node("Concat", *values, axis=axis)


def stack(values, axis):
    return concatenate([v.node("Unsqueeze", [axis]) for v in values], axis)


def where(condition, x, y):
    kind = next(v.dtype for v in (x, y) if isinstance(v, Value))
    x, y = (v if isinstance(v, Value) else condition.graph.constant(np.asarray(v, kind)) for v in (x, y))
    return condition.node("Where", x, y, dtype=kind)


def maximum(x, y):
    return x._with("Max", y)


def minimum(x, y):
    return x._with("Min", y)


def power(x, exponent):
    return x._with("Pow", exponent)


def sqrt(x):
    return x.node("Sqrt")


def abs(x):
    return x.node("Abs")


def logical_and(x, y):
    return x.node("And", y)


def any(x):
    return x.cast("float32").node("ReduceMax", keepdims=0) > 0


def ones_like(x):
    return x.shape().node("ConstantOfShape", value=helper.make_tensor("one", _TYPES[x.dtype], [1], [1]), dtype=x.dtype)


def zeros_like(x):
    return x.shape().node("ConstantOfShape", value=helper.make_tensor("zero", _TYPES[x.dtype], [1], [0]), dtype=x.dtype)


def while_loop(condition, step, values):
    """A Loop: `values` become `step(*values)` as long as `condition(*values)`."""
    graph = values[0].graph

    def body(_, before, *inner):
        inner = step(*inner)
        return condition(*inner), *inner

    inputs = [("round", "int64", []), ("going", "bool", []), *(("value", v.dtype, None) for v in values)]
    body = graph.subgraph("loop", body, inputs)
    return graph.node("Loop", END, condition(*values), *values, dtype=values[0].dtype, outputs=len(values), body=body)
