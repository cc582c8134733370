"""Which line of the caller's made an equation, and through which function of JAX."""

import os
import sysconfig
from typing import Any, NamedTuple

import jax

from jaxdl.gradcheck.replay.trace import place_of

_JAX = os.path.dirname(jax.__file__) + os.sep
_NAMED = tuple(
    os.path.join(_JAX, "_src", part) for part in ("numpy", "nn", "lax", "scipy", "image")
)
"""Where the functions are that people call by name."""

_PASSING = ("ufunc_api.py", "array_methods.py")
"""Files of these that only pass calls on."""

_INSTALLED = tuple({sysconfig.get_path(kind) + os.sep for kind in ("purelib", "platlib", "stdlib")})


class Line(NamedTuple):
    """A line of a file outside of JAX, and the function of JAX that it calls, or ""."""

    file: str
    number: int
    function: str

    def is_installed(self) -> bool:
        """Is the file part of an installed package?"""
        return self.file.startswith(_INSTALLED)


def called(eqn: Any) -> Line | None:
    """The innermost line outside of JAX that led to an equation; None if JAX kept none."""
    traceback = eqn.source_info.traceback
    function = ""
    for code, at in zip(*traceback.raw_frames(), strict=True) if traceback is not None else ():
        file = code.co_filename
        if not file.startswith(_JAX):
            return Line(file, place_of(code, at)[0], function)
        if file.startswith(_NAMED) and os.path.basename(file) not in _PASSING:
            function = code.co_name.lstrip("_")  # the outermost counts, and comes last
    return None
