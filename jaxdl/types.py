"""Names for the few types that every part shares."""

from typing import Any, TypeAlias

import jax
import jax.typing

Array: TypeAlias = jax.Array
ArrayLike: TypeAlias = jax.typing.ArrayLike
Key: TypeAlias = jax.Array
"""A key made by `jax.random.key` (or a raw `jax.random.PRNGKey`)."""

PyTree: TypeAlias = Any
Params: TypeAlias = PyTree
"""Parameters: a tree (dicts, lists, tuples) whose leaves are arrays."""

Scalar: TypeAlias = int | float | jax.Array
"""A Python number or a zero-dimensional array, traced or not."""
