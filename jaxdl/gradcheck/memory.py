"""Remember compiled programs from one check to the next, for the same function objects.

A program is used again only after the functions were traced anew and gave the same one, so a
changed closure or global is never mistaken for the old. Functions are held weakly, and only the
latest few checks are kept.
"""

import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxdl.gradcheck.call import FIXED, Call

LATEST = 32
"""How many checks are remembered."""


@dataclass
class Programs:
    """What was compiled for one pair of functions and one kind of call.

    Attributes:
        loss, grad: weak references to the functions.
        signature: of the call.
        made: the programs, as `Shadow.programs` keeps them.
        hand_mode: how the gradient function runs; see `Shadow`.
    """

    loss: Callable[[], Any]
    grad: Callable[[], Any]
    signature: tuple
    made: dict
    hand_mode: str


_REMEMBERED: deque[Programs] = deque(maxlen=LATEST)


def recall(loss: Callable, grad: Callable, call: Call) -> Programs | None:
    """The programs of an earlier check of these functions with such a call, if any."""
    signature = _signature(call)
    for programs in tuple(_REMEMBERED):  # other threads may check, too
        # Bound methods are made anew at every access, so "is" would never find them.
        same = programs.loss() == loss and programs.grad() == grad
        if same and _equal(programs.signature, signature):
            return programs
    return None


def remember(loss: Callable, grad: Callable, call: Call, made: dict, hand_mode: str) -> None:
    """Keep these programs, in place of older ones for the same functions and call."""
    try:
        programs = Programs(_weak(loss), _weak(grad), _signature(call), made, hand_mode)
    except TypeError:  # a callable that allows no weak reference
        return
    old = recall(loss, grad, call)
    alive = [p for p in tuple(_REMEMBERED) if p is not old and p.loss() is not None]
    _REMEMBERED.clear()
    _REMEMBERED.extend(alive)
    _REMEMBERED.appendleft(programs)


def _weak(function: Callable) -> Callable[[], Any]:
    if hasattr(function, "__self__") and hasattr(function, "__func__"):
        return weakref.WeakMethod(function)
    return weakref.ref(function)


def _signature(call: Call) -> tuple:
    kinds = tuple(
        leaf if kind == FIXED else (np.shape(leaf), str(getattr(leaf, "dtype", type(leaf))))
        for leaf, kind in zip(call.leaves, call.kinds, strict=True)
    )
    return call.structure, call.kinds, kinds, call.x64


def _equal(a: tuple, b: tuple) -> bool:
    try:
        return bool(a == b)
    except Exception:  # a passed-through object whose == is not a plain yes or no
        return False
