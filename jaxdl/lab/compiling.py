"""How long JAX compiles, by its own account."""

import contextlib
from collections.abc import Callable, Iterator

from jax import monitoring

EVENTS = (
    "/jax/core/compile/jaxpr_to_mlir_module_duration",
    "/jax/core/compile/backend_compile_duration",
)
"""Lowering, and compiling or reading what was compiled before."""


@contextlib.contextmanager
def watched() -> Iterator[Callable[[], float]]:
    """Gives a function that tells the seconds spent compiling since the block began."""
    spent: list[float] = []

    def listen(event: str, duration_secs: float, **_) -> None:
        if event in EVENTS:
            spent.append(duration_secs)

    monitoring.register_event_duration_secs_listener(listen)
    try:
        yield lambda: sum(spent)
    finally:
        monitoring.unregister_event_duration_listener(listen)
