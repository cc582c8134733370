"""The same cases through other gradient checkers, at their default settings.

The loss and the hand-derived gradient are joined in a function with that gradient as its rule,
because these tools check the derivative that their own library would take. All run in float64.
"""

import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks._gradcheck_tables import titled


def upcast(tree):
    """Floating arrays as float64, on the device; integers and keys as they are."""

    def up(leaf):
        floating = hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, np.floating)
        if floating:
            return jnp.asarray(leaf, jnp.float64)
        return jnp.asarray(leaf) if isinstance(leaf, np.ndarray) else leaf

    return jax.tree.map(up, tree)


def flat_problem(case) -> tuple[Callable, Callable, np.ndarray]:
    """(loss, grad, point) of one vector: what all three peers can take."""
    leaves, treedef = jax.tree.flatten(case.params)
    leaves = [np.asarray(leaf, np.float64) for leaf in leaves]
    shapes = [leaf.shape for leaf in leaves]
    cuts = np.cumsum([leaf.size for leaf in leaves])[:-1]
    args = upcast(case.args)

    def unravel(vector):
        parts = (
            part.reshape(shape) for part, shape in zip(jnp.split(vector, cuts), shapes, strict=True)
        )
        return jax.tree.unflatten(treedef, list(parts))

    def loss(vector):
        return case.loss(unravel(vector), *args)

    def grad(vector):
        parts = jax.tree.leaves(case.grad(unravel(jnp.asarray(vector)), *args))
        return np.concatenate([np.asarray(part, np.float64).reshape(-1) for part in parts])

    return loss, grad, np.concatenate([leaf.reshape(-1) for leaf in leaves])


def with_rule(loss: Callable, grad: Callable) -> Callable:
    """`loss` as a JAX function whose reverse rule is `grad`."""

    @jax.custom_vjp
    def f(vector):
        return loss(vector)

    def forward(vector):
        shape = jax.ShapeDtypeStruct(vector.shape, vector.dtype)
        return loss(vector), jax.pure_callback(grad, shape, vector)

    f.defvjp(forward, lambda g, cotangent: (cotangent * g,))
    return f


def jax_check_grads(loss, grad, point):
    from jax import test_util

    test_util.check_grads(with_rule(loss, grad), (jnp.asarray(point),), order=1, modes=("rev",))


def chex_numerical(loss, grad, point):
    import chex

    f = with_rule(loss, grad)
    chex.assert_numerical_grads(f, (jnp.asarray(point),), order=1, modes=("rev",))


def _torch_function(loss, grad):
    import torch

    value = jax.jit(loss)

    class HandWritten(torch.autograd.Function):
        @staticmethod
        def forward(ctx, vector):
            ctx.save_for_backward(vector)
            return torch.tensor(float(value(vector.detach().numpy())), dtype=torch.float64)

        @staticmethod
        def backward(ctx, cotangent):
            (vector,) = ctx.saved_tensors
            return cotangent * torch.from_numpy(grad(vector.detach().numpy()))

    return HandWritten.apply


def torch_slow(loss, grad, point, fast_mode=False):
    import torch

    vector = torch.tensor(point, requires_grad=True)
    torch.autograd.gradcheck(_torch_function(loss, grad), (vector,), fast_mode=fast_mode)


def torch_fast(loss, grad, point):
    torch_slow(loss, grad, point, fast_mode=True)


def available() -> dict[str, Callable]:
    """The peers that are installed; jax and chex always are."""
    peers = {"jax check_grads": jax_check_grads, "chex numerical": chex_numerical}
    try:
        import torch  # noqa: F401
    except ImportError:
        return peers
    return peers | {"torch slow": torch_slow, "torch fast": torch_fast}


def accepts(peer: Callable, case) -> tuple[bool | None, float]:
    """(whether `peer` accepts the gradient, seconds); None where it cannot run the case."""
    start = time.perf_counter()
    try:
        peer(*flat_problem(case))
        verdict = True
    except AssertionError:
        verdict = False
    except Exception as error:
        verdict = False if type(error).__name__ == "GradcheckError" else None
    return verdict, time.perf_counter() - start


def evaluate(cases: Sequence, progress=lambda iterable: iterable) -> dict:
    """{peer: {mutants, found, controls, false_alarms, not_run, seconds, missed, alarmed}}."""
    cases = [case for case in cases if case.visible]
    peers = available()
    results = {name: [] for name in peers}
    with jax.enable_x64(True):
        for case in progress(cases):
            for name, peer in peers.items():
                results[name].append((case, *accepts(peer, case)))
    return {name: _summary(rows) for name, rows in results.items()}


def _summary(rows) -> dict:
    wrong = [(case, verdict) for case, verdict, _ in rows if not case.correct]
    right = [(case, verdict) for case, verdict, _ in rows if case.correct]
    return {
        "mutants": sum(verdict is not None for _, verdict in wrong),
        "found": sum(verdict is False for _, verdict in wrong),
        "controls": sum(verdict is not None for _, verdict in right),
        "false_alarms": sum(verdict is False for _, verdict in right),
        "not_run": sum(verdict is None for _, verdict, _ in rows),
        "median_s": float(np.median([seconds for _, _, seconds in rows])),
        "missed": [case.name for case, verdict in wrong if verdict],
        "alarmed": [case.name for case, verdict in right if verdict is False],
    }


def show(result: dict, ours: dict, console) -> None:
    """Ours beside theirs."""
    numbers = ["bugs found", "false alarms", "cause right", "not run", "median s"]
    title = "Beside other checkers, float64, default settings"
    table = titled(title, ["checker", *numbers], right=numbers)
    found, alarms, cause = ours["found_float64"], ours["false_alarms"], ours["cause_right"]
    table.add_row(
        "jaxdl.gradcheck", f"{found['hits']}/{found['n']}", f"{alarms['hits']}/{alarms['n']}",
        f"{cause['hits']}/{cause['n']}", "0", f"{ours['median_s']:.2f}", style="bold",
    )  # fmt: skip
    for name, row in result.items():
        table.add_row(
            name, f"{row['found']}/{row['mutants']}", f"{row['false_alarms']}/{row['controls']}",
            "–", str(row["not_run"]), f"{row['median_s']:.2f}",
        )  # fmt: skip
    console.print(table)
    console.print(
        "jaxdl's controls count twice: with float64 and with float32 arrays. "
        "The JSON names every case that a peer missed or rejected."
    )
