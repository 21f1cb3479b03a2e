"""Writes ONNX models byte by byte: the few messages of the format that our one model needs.

Written here rather than with the `onnx` package so that the same weights give the same bytes with any version of any
library: the digest of the file is pinned. Message and field numbers: onnx.proto, IR version 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

IR_VERSION: Final = 8
OPSET: Final = 17
#: The operators that onnxruntime adds: quantised products, attention, fused normalisation.
RUNTIME_DOMAIN: Final = "com.microsoft"

_ELEMENT: Final[dict[str, int]] = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7}
_VARINT, _BYTES, _FIXED32 = 0, 2, 5


@dataclass(slots=True)
class Graph:
    """Nodes and constants in the order in which they are added; names of values are made up as they come."""

    nodes: list[bytes] = field(default_factory=list)
    constants: list[bytes] = field(default_factory=list)
    _count: int = 0

    def constant(self, array: np.ndarray[Any, Any]) -> str:
        """Add a constant and return its name."""
        name = self._name("c")
        tensor = b"".join(_int(1, size) for size in array.shape) + _int(2, _ELEMENT[array.dtype.name])
        little_endian = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
        self.constants.append(tensor + _text(8, name) + _bytes(9, little_endian.tobytes()))
        return name

    def node(
        self,
        kind: str,
        inputs: Sequence[str],
        outputs: int = 1,
        domain: str = "",
        **attributes: float | list[int],
    ) -> list[str]:
        """Add a node and return the names of its outputs; an empty input name leaves an optional input out."""
        names = [self._name("v") for _ in range(outputs)]
        self._add(kind, inputs, names, domain, attributes)
        return names

    def output(self, kind: str, inputs: Sequence[str], name: str, **attributes: float | list[int]) -> None:
        """Add the node whose output the model gives out under `name`."""
        self._add(kind, inputs, [name], "", attributes)

    def _add(
        self,
        kind: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        domain: str,
        attributes: dict[str, float | int | list[int]],
    ) -> None:
        body = b"".join(_text(1, name) for name in inputs) + b"".join(_text(2, name) for name in outputs)
        body += _text(3, f"n{len(self.nodes)}") + _text(4, kind)
        body += b"".join(_bytes(5, _attribute(name, value)) for name, value in sorted(attributes.items()))
        self.nodes.append(body + (_text(7, domain) if domain else b""))

    def _name(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def model(
        self,
        inputs: Sequence[tuple[str, str, Sequence[str]]],
        outputs: Sequence[tuple[str, Sequence[str | int]]],
    ) -> bytes:
        """Return the model file; `inputs` are (name, element type, names of dimensions), the outputs are of floats."""
        graph = b"".join(_bytes(1, node) for node in self.nodes) + _text(2, "embedder")
        graph += b"".join(_bytes(5, tensor) for tensor in self.constants)
        graph += b"".join(_bytes(11, _value(name, element, shape)) for name, element, shape in inputs)
        graph += b"".join(_bytes(12, _value(name, "float32", shape)) for name, shape in outputs)
        opsets = _bytes(8, _text(1, "") + _int(2, OPSET)) + _bytes(8, _text(1, RUNTIME_DOMAIN) + _int(2, 1))
        return _int(1, IR_VERSION) + _text(2, "agentcache") + _bytes(7, graph) + opsets


def _attribute(name: str, value: float | list[int]) -> bytes:
    named = _text(1, name)
    if isinstance(value, list):
        return named + b"".join(_int(8, item) for item in value) + _int(20, 7)
    if isinstance(value, int):
        return named + _int(3, value) + _int(20, 2)
    return named + _tag(2, _FIXED32) + np.float32(value).tobytes() + _int(20, 1)


def _value(name: str, element: str, shape: Sequence[str | int]) -> bytes:
    sizes = b"".join(_bytes(1, _int(1, size) if isinstance(size, int) else _text(2, size)) for size in shape)
    tensor = _int(1, _ELEMENT[element]) + _bytes(2, sizes)
    return _text(1, name) + _bytes(2, _bytes(1, tensor))


def _varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _tag(number: int, wire: int) -> bytes:
    return _varint(number << 3 | wire)


def _int(number: int, value: int) -> bytes:
    return _tag(number, _VARINT) + _varint(value)


def _bytes(number: int, value: bytes) -> bytes:
    return _tag(number, _BYTES) + _varint(len(value)) + value


def _text(number: int, value: str) -> bytes:
    return _bytes(number, value.encode())
