"""Reads the values out of a pickle without Python's unpickler: nothing is imported, called or looked up.

A pickle is a program for a small stack machine. This is that machine without the opcodes that a file of
plain values does not need, and with the two that name and call things handed to a table of the caller's:
a name is no more than a :class:`Global`, and what is made of a call is decided by whoever reads the file.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

T = TypeVar("T")

MAX_OPCODES = 200_000
"""Parameters and a handful of arrays take some hundred; each costs memory."""
MAX_INTEGER_BITS = 64

_CONSTANTS = {
    "NONE": None,
    "NEWTRUE": True,
    "NEWFALSE": False,
}
_LITERALS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_MADE: dict[str, Callable[[], Any]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_SET": set}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MARKED: dict[str, Callable[[list[Any]], Any]] = {"TUPLE": tuple, "LIST": list}
_IGNORED = {"PROTO", "FRAME"}

_SCALARS = (str, bytes, int, float, type(None))


class RefusedError(Exception):
    """What in a pickle is refused, without the name of its file."""


@dataclass(frozen=True)
class Global:
    """A name in a pickle, never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        # The name is the file's own: nothing of it may reach a terminal as it stands.
        shown = f"{self.module}.{self.name}"
        return shown if shown.isprintable() and len(shown) <= 100 else f"{shown[:100]!a}"


@runtime_checkable
class Buildable(Protocol):
    """A stand-in that takes its state after it was made."""

    def build(self, state: Any) -> None:
        """Take the state or refuse it."""


class Machine:
    """One run of a pickle.

    Parameters
    ----------
    allows
        Whether a name may stand in the file.
    call
        Makes the value of an allowed name and a tuple of arguments, or raises RefusedError.
    """

    def __init__(
        self, allows: Callable[[Global], bool], call: Callable[[Global, tuple[Any, ...]], Any]
    ) -> None:
        self._allows, self._call = allows, call
        self._stack: list[Any] = []
        self._outer: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def run(self, data: bytes) -> Any:
        """The value of a pickle.

        Raises
        ------
        RefusedError
            An opcode, a name or a value is not for a file of plain values, or there are too many.
        ValueError, IndexError, KeyError
            It is damaged or ends too soon.
        """
        for number, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if number > MAX_OPCODES:
                raise RefusedError(f"it holds more than {MAX_OPCODES} values, no parameter file does")
            if opcode.name == "STOP":
                break
            self._step(opcode.name, argument)
        return self._stack.pop()

    def _step(self, opcode: str, argument: Any) -> None:
        if opcode in _CONSTANTS:
            self._stack.append(_CONSTANTS[opcode])
        elif opcode in _LITERALS:
            self._stack.append(_literal(argument))
        elif opcode in _MADE:
            self._stack.append(_MADE[opcode]())
        elif opcode in _TUPLES:
            self._stack.append(self._pop(_TUPLES[opcode]))
        elif opcode in _MARKED:
            above = self._pop_mark()
            self._stack.append(_MARKED[opcode](above))
        elif opcode not in _IGNORED:
            step = getattr(self, f"_do_{opcode.lower()}", None)
            if step is None:
                raise RefusedError(f"the pickle opcode {opcode} has no place in a file of plain values")
            step(argument)

    def _pop(self, count: int) -> tuple[Any, ...]:
        return tuple(reversed([self._stack.pop() for _ in range(count)]))

    def _pop_mark(self) -> list[Any]:
        """What is above the last mark."""
        above, self._stack = self._stack, self._outer.pop()
        return above

    def _do_mark(self, _: Any) -> None:
        self._outer.append(self._stack)
        self._stack = []

    def _do_pop(self, _: Any) -> None:
        self._stack.pop()

    def _do_pop_mark(self, _: Any) -> None:
        self._pop_mark()

    def _do_dup(self, _: Any) -> None:
        self._stack.append(self._stack[-1])

    def _do_memoize(self, _: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _do_put(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    _do_binput = _do_long_binput = _do_put

    def _do_get(self, index: int) -> None:
        self._stack.append(self._memo[index])

    _do_binget = _do_long_binget = _do_get

    def _do_append(self, _: Any) -> None:
        self._extend(list(self._pop(1)))

    def _do_appends(self, _: Any) -> None:
        self._extend(self._pop_mark())

    def _extend(self, items: list[Any]) -> None:
        of_type(self._stack[-1], list).extend(items)

    def _do_setitem(self, _: Any) -> None:
        self._set_items(list(self._pop(2)))

    def _do_setitems(self, _: Any) -> None:
        self._set_items(self._pop_mark())

    def _do_dict(self, _: Any) -> None:
        items = self._pop_mark()
        self._stack.append({})
        self._set_items(items)

    def _set_items(self, items: list[Any]) -> None:
        pairs = zip(items[::2], items[1::2], strict=True)
        of_type(self._stack[-1], dict).update((scalar(key), value) for key, value in pairs)

    def _do_additems(self, _: Any) -> None:
        items = self._pop_mark()
        of_type(self._stack[-1], set).update(map(scalar, items))

    def _do_frozenset(self, _: Any) -> None:
        members = self._pop_mark()
        self._stack.append(frozenset(map(scalar, members)))

    def _do_global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._push_name(Global(module, name))

    def _do_stack_global(self, _: Any) -> None:
        module, name = self._pop(2)
        self._push_name(Global(of_type(module, str), of_type(name, str)))

    def _push_name(self, name: Global) -> None:
        if not self._allows(name):
            raise RefusedError(f"it names {name}, which is no plain value")
        self._stack.append(name)

    def _do_reduce(self, _: Any) -> None:
        function, arguments = self._pop(2)
        self._stack.append(self._call(of_type(function, Global), of_type(arguments, tuple)))

    _do_newobj = _do_reduce

    def _do_build(self, _: Any) -> None:
        (state,) = self._pop(1)
        if not isinstance(self._stack[-1], Buildable):
            raise RefusedError(f"it sets the state of a {kind_of(self._stack[-1])}, which has none")
        self._stack[-1].build(state)


def scalar(value: Any) -> Any:
    """The value, if it may be a key or a member of a set: the hash of a nested tuple can take for ever."""
    if not isinstance(value, _SCALARS):
        raise RefusedError(f"a {kind_of(value)} is a key of a dictionary or a member of a set")
    return value


def _literal(value: Any) -> Any:
    if isinstance(value, int) and value.bit_length() > MAX_INTEGER_BITS:
        raise RefusedError(f"it holds an integer of {value.bit_length()} bits, at most {MAX_INTEGER_BITS}")
    return bytes(value) if isinstance(value, bytearray) else value


def of_type(value: Any, kind: type[T]) -> T:
    """The value, if it is of that type."""
    if not isinstance(value, kind):
        raise RefusedError(f"a {kind_of(value)} stands where a {kind.__name__} must")
    return value


def kind_of(value: Any) -> str:
    """What a value is, for a message."""
    return f"global {value}" if isinstance(value, Global) else type(value).__name__
