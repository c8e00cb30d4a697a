"""An inert reader of pickled NumPy arrays: `read_arrays` interprets the few opcodes that such a file needs.

Nothing in the file is looked up, called or executed: a name is compared with a short list, an array is made from its
bytes alone, and all else is refused at its position. Opcodes as in Python's `pickletools`, argument patterns as NumPy
1.19 to 2.4 write them (``ndarray.__reduce_ex__``, ``dtype.__reduce__``).
"""

from __future__ import annotations

import math
import os
import pickletools
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import BinaryIO

import numpy as np

from temporalpairs.errors import ReleasedFileError

MAX_ARRAY_BYTES = 2**28  # one array: 65,536 masks of 64×64; nearly two hours at 10 frames a second
MAX_OPCODES = 2**21  # 24 for an array, 99,712 for 2,120 sequences; the most wasteful fill half a GB
MAX_NAME = 128  # bytes of a name or a key; the longest that is needed has 22
MAX_DIMENSIONS = 32  # of an array (NumPy 1.19)
LARGEST_LONG = 8  # bytes of an integer

_OPCODE_NAMES = {opcode.code.encode("latin-1"): opcode.name for opcode in pickletools.opcodes}


class _Symbol(Enum):
    """The names that are known, only as symbols: nothing is imported for them."""

    RECONSTRUCT = "numpy.core.multiarray._reconstruct"
    FROM_BUFFER = "numpy.core.numeric._frombuffer"
    NDARRAY = "numpy.ndarray"
    DTYPE = "numpy.dtype"


_SYMBOLS = {
    ("numpy.core.multiarray", "_reconstruct"): _Symbol.RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _Symbol.RECONSTRUCT,
    ("numpy.core.numeric", "_frombuffer"): _Symbol.FROM_BUFFER,
    ("numpy._core.numeric", "_frombuffer"): _Symbol.FROM_BUFFER,
    ("numpy", "ndarray"): _Symbol.NDARRAY,
    ("numpy", "dtype"): _Symbol.DTYPE,
}
_DTYPES = {
    code: np.dtype(f"<{code}") for code in ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
}


class _Bytes:
    """Bytes of the file, left where they are until an array needs them."""

    __slots__ = ("length", "position")

    def __init__(self, position: int, length: int) -> None:
        self.position = position
        self.length = length


class _Dtype:
    """A plain dtype, complete once its byte order was read."""

    __slots__ = ("complete", "dtype")

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = dtype
        self.complete = False


class _Array:
    """An array, complete once its content was handed over."""

    __slots__ = ("complete", "content")

    def __init__(self) -> None:
        self.content: object = None
        self.complete = False


def read_arrays(path: Path, on_array: Callable[[np.ndarray], object]) -> object:
    """Read what a pickle holds: dicts with text keys, lists, text, integers, booleans, None and arrays.

    Memory is bounded by what `on_array` keeps, the limits of this module, and the largest array; no byte of the file
    goes into two arrays, and no array into two places.

    Args:
        path: a pickle of protocol 3, 4 or 5.
        on_array: called with each array as it is read, of bool, integer or little-endian float dtype and read-only (a
            bool array may hold bytes other than 0 and 1); what it returns takes the array's place.

    Returns:
        The pickled object, each array replaced.

    Raises:
        ReleasedFileError: the file is damaged, or asks for anything else.
        OSError: the file cannot be opened or read.
    """
    with path.open("rb") as file:
        return _Interpreter(path, file, on_array).run()


class _Interpreter:
    """The pickle machine: a stack, the positions of its marks, and a memo."""

    def __init__(self, path: Path, file: BinaryIO, on_array: Callable[[np.ndarray], object]) -> None:
        self._path = path
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        self._on_array = on_array
        self._position = 0
        self._frame_end: int | None = None
        self._opcode = "start"
        self._opcode_position = 0
        self._stack: list[object] = []
        self._marks: list[int] = []
        self._memo: dict[int, object] = {}
        self._in_arrays = 0

    def run(self) -> object:
        """Interpret the whole file and return the object it holds."""
        if self._take(1) != b"\x80":
            raise self._refused("does not begin as a pickle of protocol 3, 4 or 5")
        protocol = self._take(1)[0]
        if protocol not in (3, 4, 5):
            raise self._refused(f"pickle protocol {protocol}, expected 3, 4 or 5")
        for _ in range(MAX_OPCODES):
            if self._position == self._frame_end:
                self._frame_end = None
            self._opcode_position = self._position
            self._opcode = "the next opcode"
            code = self._take(1)
            self._opcode = _OPCODE_NAMES.get(code, f"byte {code[0]:#04x}")
            if code == b".":
                return self._stop()
            action = _ACTIONS.get(code)
            if action is None:
                raise self._refused(f"{self._opcode} is no opcode that arrays of numbers need")
            action(self)
        raise self._refused(f"more than {MAX_OPCODES:,} opcodes")

    def _refused(self, found: str) -> ReleasedFileError:
        return ReleasedFileError(self._path, found, place=f"byte {self._opcode_position}")

    def _advance(self, length: int) -> None:
        """Step over bytes, which must lie within the file and the current frame."""
        end = self._position + length
        if end > self._size:
            raise self._refused(f"{self._opcode} needs {length:,} bytes, and {self._size - self._position:,} are left")
        if self._frame_end is not None and end > self._frame_end:
            raise self._refused(f"{self._opcode} runs past the end of its frame at byte {self._frame_end}")
        self._position = end

    def _take(self, length: int) -> bytes:
        self._advance(length)
        taken = self._file.read(length)
        if len(taken) != length:
            raise self._refused("the file became shorter while it was read")
        return taken

    def _number(self, width: int, *, signed: bool = False) -> int:
        return int.from_bytes(self._take(width), "little", signed=signed)

    def _ascii(self, text: bytes) -> str:
        if not text.isascii():
            raise self._refused(f"{self._opcode} with text that is not ASCII")
        return text.decode("ascii")

    def _line(self) -> str:
        line = self._file.readline(MAX_NAME + 1)
        if not line.endswith(b"\n"):
            raise self._refused(f"{self._opcode} without the end of a line within {MAX_NAME} bytes")
        self._advance(len(line))
        return self._ascii(line[:-1])

    def _content(self, place: _Bytes) -> bytes:
        self._file.seek(place.position)
        content = self._file.read(place.length)
        self._file.seek(self._position)
        if len(content) != place.length:
            raise self._refused("the file became shorter while it was read")
        return content

    def _top(self) -> object:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise self._refused(f"{self._opcode} finds nothing on the stack")
        return self._stack[-1]

    def _pop(self) -> object:
        self._top()
        return self._stack.pop()

    def _pop_to_mark(self) -> list[object]:
        if not self._marks:
            raise self._refused(f"{self._opcode} without a mark")
        mark = self._marks.pop()
        popped = self._stack[mark:]
        del self._stack[mark:]
        return popped

    def _settled(self, value: object) -> object:
        """Return a value as a container keeps it: plain, or what takes an array's place."""
        if isinstance(value, _Array) and value.complete:
            return value.content
        if value is None or isinstance(value, int | str | list | dict):
            return value
        raise self._refused(f"{self._opcode} keeps {_describe(value)}, expected a complete array or a plain value")

    def frame(self) -> None:
        length = self._number(8)
        if self._frame_end is not None:
            raise self._refused("FRAME begins inside another frame")
        if length > self._size - self._position:
            raise self._refused(f"FRAME of {length:,} bytes, and {self._size - self._position:,} are left")
        self._frame_end = self._position + length

    def _stop(self) -> object:
        if self._frame_end not in (None, self._position):
            raise self._refused(f"STOP before the end of its frame at byte {self._frame_end}")
        if self._position != self._size:
            raise self._refused(f"{self._size - self._position:,} bytes follow after STOP")
        if self._marks or len(self._stack) != 1:
            raise self._refused("STOP with an unfinished object")
        return self._settled(self._stack[0])

    def mark(self) -> None:
        self._marks.append(len(self._stack))

    def put(self, number: int) -> None:
        self._memo[number] = self._top()

    def memoize(self) -> None:
        self.put(len(self._memo))

    def get(self, number: int) -> None:
        if number not in self._memo:
            raise self._refused(f"{self._opcode} of memo {number}, which is not set")
        value = self._memo[number]
        if isinstance(value, _Array):
            raise self._refused(f"{self._opcode} uses an array a second time")
        self._stack.append(value)

    def push(self, value: object) -> None:
        self._stack.append(value)

    def push_long(self) -> None:
        width = self._number(1)
        if width > LARGEST_LONG:
            raise self._refused(f"an integer of {width} bytes, expected at most {LARGEST_LONG}")
        self.push(self._number(width, signed=True))

    def push_text(self, width: int) -> None:
        length = self._number(width)
        if length > MAX_NAME:
            raise self._refused(f"{self._opcode} of {length:,} bytes, expected at most {MAX_NAME}")
        self.push(self._ascii(self._take(length)))

    def push_bytes(self, width: int) -> None:
        length = self._number(width)
        place = _Bytes(self._position, length)
        self._advance(length)
        self._file.seek(self._position)
        self.push(place)

    def push_tuple(self, length: int) -> None:
        items = [self._pop() for _ in range(length)]
        self.push(tuple(reversed(items)))

    def push_marked_tuple(self) -> None:
        self.push(tuple(self._pop_to_mark()))

    def extend(self, items: list[object]) -> None:
        target = self._top()
        if not isinstance(target, list):
            raise self._refused(f"{self._opcode} to {_describe(target)}, expected a list")
        target.extend(map(self._settled, items))

    def update(self, items: list[object]) -> None:
        target = self._top()
        if not isinstance(target, dict) or len(items) % 2:
            raise self._refused(f"{self._opcode} of {len(items)} items to {_describe(target)}, not of pairs to a dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str):
                raise self._refused(f"a key is {_describe(key)}, expected text")
            if key in target:
                raise self._refused(f"the key {key!r} occurs twice")
            target[key] = self._settled(value)

    def set_item(self) -> None:
        value, key = self._pop(), self._pop()
        self.update([key, value])

    def stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        if not isinstance(module, str) or not isinstance(name, str):
            raise self._refused(f"a name made of {_describe(module)} and {_describe(name)}, expected text")
        self.symbol(module, name)

    def symbol(self, module: str, name: str) -> None:
        known = _SYMBOLS.get((module, name))
        if known is None:
            raise self._refused(f"asks for {module!r} {name!r}, which arrays of numbers do not need")
        self.push(known)

    def reduce(self) -> None:
        arguments, function = self._pop(), self._pop()
        if not isinstance(arguments, tuple):
            raise self._refused(f"a call with {_describe(arguments)}, expected a tuple")
        if function is _Symbol.RECONSTRUCT:
            self.push(self._reconstruct(arguments))
        elif function is _Symbol.FROM_BUFFER:
            self.push(self._from_buffer(arguments))
        elif function is _Symbol.DTYPE:
            self.push(self._dtype(arguments))
        else:
            raise self._refused(f"a call of {_describe(function)}")

    def build(self) -> None:
        state, target = self._pop(), self._top()
        if not isinstance(state, tuple):
            raise self._refused(f"BUILD with {_describe(state)}, expected a tuple")
        if isinstance(target, _Dtype) and not target.complete:
            self._complete_dtype(target, state)
        elif isinstance(target, _Array) and not target.complete:
            self._complete_array(target, state)
        else:
            raise self._refused(f"BUILD of {_describe(target)}, expected an array or a dtype without content")

    def _reconstruct(self, arguments: tuple[object, ...]) -> _Array:
        match arguments:
            case (_Symbol.NDARRAY, tuple([int(zero)]), _Bytes() as code) if zero == 0 and code.length == 1:
                if self._content(code) == b"b":
                    return _Array()
        raise self._refused("arguments of _reconstruct that NumPy does not write")

    def _dtype(self, arguments: tuple[object, ...]) -> _Dtype:
        match arguments:
            case (str(code), int(align), int(copy)) if (align, copy) == (0, 1):
                if code not in _DTYPES:
                    raise self._refused(f"dtype {code!r}, expected a boolean, integer or float type")
                return _Dtype(_DTYPES[code])
        raise self._refused("arguments of numpy.dtype that NumPy does not write for plain types")

    def _complete_dtype(self, target: _Dtype, state: tuple[object, ...]) -> None:
        match state:
            case (int(version), str(order), None, None, None, int(size), int(alignment), int(flags)):
                if order == ">":
                    raise self._refused("a big-endian dtype, expected little-endian")
                orders = ("|",) if target.dtype.itemsize == 1 else ("<", "=")
                if order in orders and (version, size, alignment, flags) == (3, -1, -1, 0):
                    target.complete = True
                    return
        raise self._refused(f"a state of dtype {target.dtype.name} that NumPy does not write")

    def _complete_array(self, target: _Array, state: tuple[object, ...]) -> None:
        match state:
            case (int(version), tuple(shape), _Dtype() as dtype, bool(fortran), _Bytes() as data) if version == 1:
                target.content = self._array(data, dtype, shape, "F" if fortran else "C")
                target.complete = True
            case _:
                raise self._refused("a state of an array that NumPy does not write for plain types")

    def _from_buffer(self, arguments: tuple[object, ...]) -> _Array:
        array = _Array()
        match arguments:
            case (_Bytes() as data, _Dtype() as dtype, tuple(shape), ("C" | "F") as order):
                array.content = self._array(data, dtype, shape, order)
            case (_Bytes() as data, _Dtype() as dtype, tuple(shape), "K", tuple(axes)) if _is_order(axes, len(shape)):
                array.content = self._array(data, dtype, shape, "C", axes)
            case _:
                raise self._refused("arguments of _frombuffer that NumPy does not write")
        array.complete = True
        return array

    def _array(
        self, data: _Bytes, dtype: _Dtype, shape: tuple[object, ...], order: str, axes: tuple[int, ...] | None = None
    ) -> object:
        """Make an array from its bytes, after its size was found to fit them, and hand it over."""
        sides = [side for side in shape if type(side) is int and side >= 0]
        if len(sides) != len(shape) or len(sides) > MAX_DIMENSIONS or not dtype.complete:
            raise self._refused(f"an array of {len(shape)} dimensions whose shape or dtype is incomplete")
        expected = math.prod(sides) * dtype.dtype.itemsize
        if expected != data.length:
            raise self._refused(f"an array of {data.length:,} bytes, where its shape and dtype need {expected:,}")
        if math.prod(max(side, 1) for side in sides) * dtype.dtype.itemsize > MAX_ARRAY_BYTES:
            raise self._refused(f"an array of shape {sides}, expected at most {MAX_ARRAY_BYTES:,} bytes")
        self._in_arrays += data.length
        if self._in_arrays > self._size:
            raise self._refused("the same bytes are used in several arrays")
        array = np.frombuffer(self._content(data), dtype.dtype) if data.length else np.empty(0, dtype.dtype)
        array = array.reshape(sides, order="F" if order == "F" else "C")
        return self._on_array(array if axes is None else array.transpose(axes))


def _is_order(axes: tuple[object, ...], length: int) -> bool:
    numbers = [axis for axis in axes if type(axis) is int]
    return len(numbers) == len(axes) and sorted(numbers) == list(range(length))


def _describe(value: object) -> str:
    """Name what a value is, without its content: that may be nested, shared and huge."""
    if isinstance(value, _Symbol):
        return value.value
    kind = type(value).__name__.lstrip("_").lower()
    return "None" if value is None else f"a value of type {kind}"


_ACTIONS: dict[bytes, Callable[[_Interpreter], None]] = {
    b"\x95": _Interpreter.frame,
    b"(": _Interpreter.mark,
    b"q": lambda machine: machine.put(machine._number(1)),
    b"r": lambda machine: machine.put(machine._number(4)),
    b"\x94": _Interpreter.memoize,
    b"h": lambda machine: machine.get(machine._number(1)),
    b"j": lambda machine: machine.get(machine._number(4)),
    b"N": lambda machine: machine.push(None),
    b"\x88": lambda machine: machine.push(True),
    b"\x89": lambda machine: machine.push(False),
    b"K": lambda machine: machine.push(machine._number(1)),
    b"M": lambda machine: machine.push(machine._number(2)),
    b"J": lambda machine: machine.push(machine._number(4, signed=True)),
    b"\x8a": _Interpreter.push_long,
    b"\x8c": lambda machine: machine.push_text(1),
    b"X": lambda machine: machine.push_text(4),
    b"\x8d": lambda machine: machine.push_text(8),
    b"C": lambda machine: machine.push_bytes(1),
    b"B": lambda machine: machine.push_bytes(4),
    b"\x8e": lambda machine: machine.push_bytes(8),
    b"\x96": lambda machine: machine.push_bytes(8),
    b")": lambda machine: machine.push(()),
    b"\x85": lambda machine: machine.push_tuple(1),
    b"\x86": lambda machine: machine.push_tuple(2),
    b"\x87": lambda machine: machine.push_tuple(3),
    b"t": _Interpreter.push_marked_tuple,
    b"]": lambda machine: machine.push([]),
    b"}": lambda machine: machine.push({}),
    b"a": lambda machine: machine.extend([machine._pop()]),
    b"e": lambda machine: machine.extend(machine._pop_to_mark()),
    b"s": _Interpreter.set_item,
    b"u": lambda machine: machine.update(machine._pop_to_mark()),
    b"c": lambda machine: machine.symbol(machine._line(), machine._line()),
    b"\x93": _Interpreter.stack_global,
    b"R": _Interpreter.reduce,
    b"b": _Interpreter.build,
}
