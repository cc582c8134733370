"""What "equal" means in the tests."""

import jax
import numpy as np

FLOAT64 = 1e-12
FLOAT32 = 2e-5


def assert_trees_close(ours, theirs, tol):
    """Per leaf max|a − b| ≤ tol · max(max|b|, 1), with the same structure and dtypes."""
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    pairs = zip(jax.tree.leaves_with_path(ours), jax.tree.leaves(theirs), strict=True)
    for (path, a), b in pairs:
        name = jax.tree_util.keystr(path)
        assert a.dtype == b.dtype, f"{name}: dtype {a.dtype} against {b.dtype}"
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        assert a.shape == b.shape, f"{name}: shape {a.shape} against {b.shape}"
        worst = np.max(np.abs(a - b), initial=0.0)
        limit = tol * max(np.max(np.abs(b), initial=0.0), 1.0)
        assert worst <= limit, f"{name}: differs by {worst:.3g}, allowed {limit:.3g}"
