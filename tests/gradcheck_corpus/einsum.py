"""Traceable gradients in jax.numpy: einsum, vmap over examples, scan over layers, jit."""

import jax
import jax.numpy as jnp

from .case import build

# --- bilinear classifier with a mixture of experts gate


def experts_loss(p, x, y):
    gate = jax.nn.softmax(x @ p["gate"])
    out = jnp.einsum("mi,eik->mek", x, p["experts"]) + p["bias"]
    return 0.5 * jnp.mean(jnp.sum((jnp.einsum("me,mek->mk", gate, out) - y) ** 2, 1))


def experts_grad(p, x, y, bug=""):
    gate = jax.nn.softmax(x @ p["gate"])
    out = jnp.einsum("mi,eik->mek", x, p["experts"]) + p["bias"]
    r = (jnp.einsum("me,mek->mk", gate, out) - y) / len(x)
    if bug == "sum":
        r = r * len(x)
    if bug == "twice":
        r = 2 * r
    d_out = jnp.einsum("me,mk->mek", gate, r)
    if bug == "gate_ignored":
        d_out = jnp.repeat(r[:, None], gate.shape[1], 1)
    d_gate = jnp.einsum("mk,mek->me", r, out)
    d_score = gate * (d_gate - jnp.sum(gate * d_gate, 1, keepdims=True))
    if bug == "diagonal":
        d_score = gate * (1 - gate) * d_gate
    if bug == "gate_detached":
        d_score = 0 * d_score
    d_bias = d_out.mean(0) if bug == "bias_mean" else d_out.sum(0)
    return {
        "gate": x.T @ d_score,
        "experts": jnp.einsum("mi,mek->eik", x, d_out),
        "bias": d_bias,
    }


def experts_draw(rng):
    p = {
        "gate": rng.normal(size=(5, 3)),
        "experts": rng.normal(size=(3, 5, 2)),
        "bias": rng.normal(size=(3, 2)),
    }
    return p, rng.normal(size=(11, 5)), rng.normal(size=(11, 2))


# --- deep tanh network whose square layers run in a scan


def scan_loss(p, x, y):
    h, _ = jax.lax.scan(lambda h, w: (jnp.tanh(h @ w), None), x, p["w"])
    return 0.5 * jnp.mean((h @ p["v"] - y) ** 2)


def scan_grad(p, x, y, bug=""):
    def up(h, w):
        new = jnp.tanh(h @ w)
        return new, (h, new)

    h, (inputs, outputs) = jax.lax.scan(up, x, p["w"])
    r = (h @ p["v"] - y) / len(x)

    def down(dh, layer):
        w, h_in, h_out = layer
        dz = dh if bug == "no_slope" else dh * (1 - h_out**2)
        if bug == "slope_of_input":
            dz = dh * (1 - h_in**2)
        dw = (h_out if bug == "own_output" else h_in).T @ dz
        return dz @ (w if bug == "not_transposed" else w.T), dw

    dh = jnp.outer(r, p["v"])
    if bug == "negative":
        dh = -dh
    _, dw = jax.lax.scan(down, dh, (p["w"], inputs, outputs), reverse=bug != "forwards")
    return {"w": dw, "v": h.T @ r}


def scan_draw(rng):
    p = {"w": 0.6 * rng.normal(size=(3, 5, 5)), "v": rng.normal(size=5)}
    return p, rng.normal(size=(8, 5)), rng.normal(size=8)


# --- one example's gradient, vmapped and averaged


def margin_loss(p, x, label):
    score = jnp.tanh(x @ p["u"]) @ p["v"]
    target = jnp.take_along_axis(score, label[:, None], 1)
    slack = jnp.maximum(0, 1 + score - target)
    return (jnp.sum(slack) - len(x)) / len(x) + 0.05 * jnp.sum(p["v"] ** 2)


def margin_grad(p, x, label, bug=""):
    def one(xi, k):
        a = jnp.tanh(xi @ p["u"])
        score = a @ p["v"]
        active = (1 + score - score[k] > 0).astype(score.dtype).at[k].set(0)
        d_score = active.at[k].set(0 if bug == "target_forgotten" else -active.sum())
        if bug == "target_once":
            d_score = active.at[k].set(-1)
        dz = p["v"] @ d_score * (1 - (a if bug == "one_minus_a" else a**2))
        return {"u": jnp.outer(xi, dz), "v": jnp.outer(a, d_score)}

    grads = jax.vmap(one)(x, label)
    keep = slice(None, -2) if bug == "two_examples_lost" else slice(None)
    count = 1 if bug == "sum" else len(x)
    penalty = {"no_l2": 0, "l2_half": 0.5}.get(bug, 1) * 0.1 * p["v"]
    return {
        "u": grads["u"][keep].sum(0) / count,
        "v": grads["v"][keep].sum(0) / count + penalty,
    }


def margin_draw(rng):
    p = {"u": rng.normal(size=(4, 6)), "v": rng.normal(size=(6, 3))}
    return p, rng.normal(size=(10, 4)), rng.integers(0, 3, 10)


# --- low-rank bilinear form with a shared factor


def bilinear_loss(p, left, right, y):
    score = jnp.einsum("mi,ir,jr,mj->m", left, p["a"], p["b"], right)
    return jnp.mean(jax.nn.softplus(-y * score))


def bilinear_grad(p, left, right, y, bug=""):
    la, rb = left @ p["a"], right @ p["b"]
    score = jnp.sum(la * rb, 1)
    d = -y * jax.nn.sigmoid(-y * score) / len(y)
    if bug == "wrong_side":
        d = -y * jax.nn.sigmoid(y * score) / len(y)
    if bug == "no_label":
        d = -jax.nn.sigmoid(-y * score) / len(y)
    other = la if bug == "same_factor" else rb
    return {
        "a": jnp.einsum("m,mi,mr->ir", d, left, other),
        "b": jnp.einsum("m,mj,mr->jr", d, right, la),
    }


def bilinear_draw(rng):
    p = {"a": rng.normal(size=(4, 2)), "b": rng.normal(size=(4, 2))}
    y = rng.choice([-1.0, 1.0], 13)
    return p, rng.normal(size=(13, 4)), rng.normal(size=(13, 4)), y


def jitted(grad):
    return jax.jit(grad, static_argnames="bug")


CASES = [
    *build(
        "experts", "einsum", "einsum",
        loss=experts_loss, grad=experts_grad, draw=experts_draw,
        bugs={
            "sum": "batch_mean_missing", "twice": "scale",
            # The gates sum to one: the gradient without them is the true one summed over experts.
            "gate_ignored": "unknown path_dropped bias_reduction_wrong",
            "diagonal": "softmax_jacobian_diagonal", "gate_detached": "zero_leaf path_dropped",
            "bias_mean": "bias_reduction_wrong batch_mean_doubled",
        },
    ),
    *build(
        "scanned-layers", "einsum", "scan",
        loss=scan_loss, grad=jitted(scan_grad), draw=scan_draw,
        bugs={
            "no_slope": "activation_derivative_missing",
            "slope_of_input": "activation_derivative_wrong stale_operand",
            "own_output": "stale_operand", "not_transposed": "transpose", "negative": "sign",
            "forwards": "unknown",
        },
    ),
    *build(
        "multi-margin", "einsum", "vmap",
        loss=margin_loss, grad=jitted(margin_grad), draw=margin_draw,
        bugs={
            "target_forgotten": "path_dropped unknown", "target_once": "unknown",
            "one_minus_a": "activation_derivative_wrong", "two_examples_lost": "examples_dropped",
            "sum": "batch_mean_missing", "no_l2": "l2_missing", "l2_half": "l2_scaled",
        },
    ),
    *build(
        "bilinear", "einsum", "einsum",
        loss=bilinear_loss, grad=bilinear_grad, draw=bilinear_draw, batch=(0, 1, 2),
        bugs={
            "wrong_side": "activation_derivative_wrong unknown",
            "no_label": "unknown", "same_factor": "stale_operand",
        },
        leaf=("swap 0 1", "entry 1"),
    ),
]  # fmt: skip
