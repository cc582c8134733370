"""One gradient to be judged, and the builder that makes a correct one and its mutants."""

import functools
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

LEAF_BUGS = {
    "zero": "zero_leaf",
    "negate": "sign",
    "double": "scale",
    "half": "scale",
    "entry": "wrong_entry",
    "row": "wrong_entry",
    "transpose": "transpose",
    "swap": "leaves_swapped",
}


class Case(NamedTuple):
    """A loss, a gradient written by hand, the point, and the truth about the gradient.

    `cause` is the word of the vocabulary for a mutant's bug, `also` further words that give the
    same gradient. A mutant that is not `visible` agrees with the true gradient at this very point
    and differs elsewhere. `reference` is the loss with the convention that the gradient uses at a
    kink (relu'(0), ties of a maximum), for the oracle only.
    """

    name: str
    family: str
    style: str
    loss: Callable
    grad: Callable
    params: Any
    args: tuple
    batch_argnums: tuple[int, ...] | None
    correct: bool
    cause: str | None = None
    also: tuple[str, ...] = ()
    visible: bool = True
    batch_axis: int = 0
    reference: Callable | None = None

    def cast(self, dtype) -> "Case":
        """The same case with every float64 array in `dtype`."""
        params, args = jax.tree.map(
            lambda leaf: leaf.astype(dtype) if _is_float64(leaf) else leaf, (self.params, self.args)
        )
        return self._replace(params=params, args=args)

    def check_options(self) -> dict:
        """Keyword arguments for `gradcheck.check`."""
        options = {} if self.batch_argnums is None else {"batch_argnums": self.batch_argnums}
        return options | ({"batch_axis": self.batch_axis} if self.batch_axis else {})


def _is_float64(leaf) -> bool:
    return getattr(leaf, "dtype", None) == np.float64


def numpy_style(grad: Callable) -> Callable:
    """`grad` in plain NumPy: arrays of any kind arrive as NumPy arrays; keys stay keys."""

    def to_numpy(leaf):
        is_key = hasattr(leaf, "dtype") and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return leaf if is_key else np.asarray(leaf)

    @functools.wraps(grad)
    def run(*args, **kwargs):
        return grad(*jax.tree.map(to_numpy, args), **kwargs)

    return run


def fresh(function: Callable, name: str, **fixed) -> Callable:
    """A function object of its own, so that no case profits from another's compilation.

    The oracle may share compilations: `__wrapped__` is the function without the wrapping.
    """

    def call(params, *args):
        return function(params, *args, **fixed)

    call.__name__ = call.__qualname__ = name
    if not fixed:
        call.__wrapped__ = function
    return call


def leaf_bug(bug: str, grads):
    """`grads` with the leaf named by `bug` spoilt: "zero 1", "swap 0 2"; without index, every leaf.

    Leaves are counted in the order of `jax.tree.leaves`.
    """
    kind, *where = bug.split()
    leaves, treedef = jax.tree.flatten(grads)
    if kind == "swap":
        i, j = map(int, where)
        leaves[i], leaves[j] = leaves[j], leaves[i]
    else:
        for i in map(int, where or range(len(leaves))):
            leaves[i] = _spoil(kind, leaves[i])
    return jax.tree.unflatten(treedef, leaves)


def _spoil(kind: str, g):
    if kind in ("entry", "row"):
        out = np.array(g)
        if kind == "entry":
            out.reshape(-1)[out.size // 2] *= 1.5
        else:
            out[len(out) // 2] = 0
        return out
    rules = {
        "zero": lambda: 0 * g,
        "negate": lambda: -g,
        "double": lambda: 2 * g,
        "half": lambda: g / 2,
        "transpose": lambda: g.T,
    }
    return rules[kind]()


def build(
    name: str,
    family: str,
    style: str,
    *,
    loss: Callable,
    grad: Callable,
    draw: Callable,
    bugs: Mapping[str, str] | str = "",
    leaf: tuple[str, ...] = (),
    batch: tuple[int, ...] | None = (0, 1),
    axis: int = 0,
    reference: Callable | None = None,
) -> list[Case]:
    """The correct case `name` and one mutant for each bug, each at a random point of its own.

    `draw(rng)` gives `(params, *args)`. `bugs` maps a switch of `grad(..., bug=switch)` to its
    words: "cause also also", with a leading "~" where the bug cannot be seen at the point.
    `leaf` lists bugs of `leaf_bug`, applied to the result of the correct gradient.
    """

    def case(label, gradient, words=None):
        full = f"{name}/{label}"
        params, *args = draw(np.random.default_rng(zlib.crc32(full.encode())))
        cause, *also = (words or "").lstrip("~").split() or [None]
        return Case(
            full, family, style, fresh(loss, "loss"), gradient, params, tuple(args), batch,
            words is None, cause, tuple(also), not (words or "").startswith("~"), axis,
            reference,
        )  # fmt: skip

    found = [case("correct", fresh(grad, "grad"))]
    for switch, words in dict(bugs or {}).items():
        found.append(case(switch, fresh(grad, "grad", bug=switch), words))
    for bug in leaf:

        def spoilt(*args, _bug=bug):
            return leaf_bug(_bug, grad(*args))

        found.append(case(bug, fresh(spoilt, "grad"), LEAF_BUGS[bug.split()[0]]))
    return found


def control(name, style, loss, grad, params, *args, batch=None, reference=None) -> Case:
    """One correct case at a given point."""
    return Case(
        f"{name}/correct", "controls", style, fresh(loss, "loss"), fresh(grad, "grad"),
        params, args, batch, True, reference=reference,
    )  # fmt: skip


def single(tree):
    """Every array in float32."""
    return jax.tree.map(lambda v: v.astype(np.float32), tree)
