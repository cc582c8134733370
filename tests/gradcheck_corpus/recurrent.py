"""Recurrent networks, back-propagated through time by hand: Elman, GRU, LSTM, (m, t, n) inputs."""

import jax
import jax.numpy as jnp
import numpy as np

from .activations import sigmoid
from .case import build, numpy_style

# --- Elman network with an output at every step


def elman_loss(p, x, y):
    def step(h, xt):
        h = jnp.tanh(xt @ p["wx"] + h @ p["wh"] + p["b"])
        return h, h @ p["wy"] + p["by"]

    h0 = jnp.zeros((len(x), p["wh"].shape[0]), x.dtype)
    _, out = jax.lax.scan(step, h0, x.swapaxes(0, 1))
    return 0.5 * ((out.swapaxes(0, 1) - y) ** 2).sum() / len(x)


def elman_forward(p, x):
    h = [np.zeros((len(x), p["wh"].shape[0]), x.dtype)]
    for t in range(x.shape[1]):
        h.append(np.tanh(x[:, t] @ p["wx"] + h[-1] @ p["wh"] + p["b"]))
    return h


@numpy_style
def elman_grad(p, x, y, bug=""):
    h = elman_forward(p, x)
    steps = x.shape[1]
    g = {name: np.zeros_like(value) for name, value in p.items()}
    carry = np.zeros_like(h[0])
    for t in reversed(range(steps)):
        dy = h[t + 1] @ p["wy"] + p["by"] - y[:, t]
        dy = dy if bug == "sum" else dy / len(x)
        g["wy"] += h[t + 1].T @ dy
        g["by"] += dy.sum(0)
        if bug == "cut" and t == steps - 3:
            carry = 0 * carry
        dh = dy @ p["wy"].T + (0 if bug == "no_carry" else carry)
        dz = dh if bug == "no_tanh" else dh * (1 - h[t + 1] ** 2)
        if bug == "previous_tanh":
            dz = dh * (1 - h[t] ** 2)
        if bug == "last_step_only":
            g["wh"] = np.where(t == steps - 1, h[t].T @ dz, g["wh"])
        else:
            g["wh"] += (h[t + 1] if bug == "same_h" else h[t]).T @ dz
        g["wx"] += x[:, t].T @ dz
        g["b"] = dz.sum(0) if bug == "b_assigned" else g["b"] + dz.sum(0)
        carry = dz @ (p["wh"] if bug == "wh_not_transposed" else p["wh"].T)
    return g


def elman_draw(rng):
    n, h, k = 4, 5, 2
    p = {
        "wx": rng.normal(size=(n, h)) / 2,
        "wh": 0.5 * rng.normal(size=(h, h)),
        "b": 0.3 * rng.normal(size=h),
        "wy": rng.normal(size=(h, k)),
        "by": 0.3 * rng.normal(size=k),
    }
    return p, rng.normal(size=(7, 6, n)), rng.normal(size=(7, 6, k))


# --- the same cell read once at the end, in jax with a scan backwards


def last_loss(p, x, label):
    h = jnp.zeros((len(x), p["u"].shape[0]), x.dtype)
    for t in range(x.shape[1]):
        h = jnp.tanh(x[:, t] @ p["w"] + h @ p["u"])
    z = h @ p["v"]
    return jnp.mean(jax.nn.logsumexp(z, 1) - z[jnp.arange(len(x)), label])


def last_grad(p, x, label, bug=""):
    def up(h, xt):
        new = jnp.tanh(xt @ p["w"] + h @ p["u"])
        return new, (xt, h, new)

    h0 = jnp.zeros((len(x), p["u"].shape[0]), x.dtype)
    h, tape = jax.lax.scan(up, h0, x.swapaxes(0, 1))
    dz = jax.nn.softmax(h @ p["v"]).at[jnp.arange(len(x)), label].add(-1)
    dz = dz / len(x) / (len(x) if bug == "twice" else 1)
    if bug == "sign":
        dz = -dz

    def down(dh, frame):
        xt, before, after = frame
        da = dh * (1 - (after if bug == "no_square" else after**2))
        return da @ p["u"].T, (xt.T @ da, before.T @ da)

    if bug == "first_step_lost":
        tape = jax.tree.map(lambda v: v[1:], tape)
    _, (dw, du) = jax.lax.scan(down, dz @ p["v"].T, tape, reverse=True)
    if bug == "only_last":
        return {"w": dw[-1], "u": du[-1], "v": h.T @ dz}
    if bug == "time_mean":
        dw = dw / len(dw)
    return {"w": dw.sum(0), "u": du.sum(0), "v": h.T @ dz}


def last_draw(rng):
    p = {
        "w": rng.normal(size=(3, 6)),
        "u": 0.5 * rng.normal(size=(6, 6)),
        "v": rng.normal(size=(6, 4)),
    }
    return p, rng.normal(size=(9, 5, 3)), rng.integers(0, 4, 9)


# --- GRU


def gru_loss(p, x, y):
    def step(h, xt):
        z = jax.nn.sigmoid(xt @ p["wz"] + h @ p["uz"])
        r = jax.nn.sigmoid(xt @ p["wr"] + h @ p["ur"])
        c = jnp.tanh(xt @ p["wc"] + (r * h) @ p["uc"])
        return (1 - z) * h + z * c, None

    h0 = jnp.zeros((len(x), p["uz"].shape[0]), x.dtype)
    h, _ = jax.lax.scan(step, h0, x.swapaxes(0, 1))
    return 0.5 * jnp.sum((h - y) ** 2) / len(x)


@numpy_style
def gru_grad(p, x, y, bug=""):
    h, tape = np.zeros((len(x), len(p["uz"])), x.dtype), []
    for xt in x.swapaxes(0, 1):
        z = sigmoid(xt @ p["wz"] + h @ p["uz"])
        r = sigmoid(xt @ p["wr"] + h @ p["ur"])
        c = np.tanh(xt @ p["wc"] + (r * h) @ p["uc"])
        tape.append((xt, h, z, r, c))
        h = (1 - z) * h + z * c
    dh = (h - y) / len(x)
    g = {name: np.zeros_like(value) for name, value in p.items()}
    for frame in reversed(tape[2:] if bug == "two_steps_lost" else tape):
        dh = gru_step(p, g, frame, dh, bug)
    return g


def gru_step(p, g, frame, dh, bug):
    """Adds this step's part to `g`; returns dh of the step before."""
    xt, h, z, r, c = frame
    dc = dh * z * (1 - c**2)
    dz = dh * (c - h) * z * (1 - z)
    if bug == "z_sign":
        dz = -dz
    if bug == "z_no_slope":
        dz = dh * (c - h)
    d_rh = dc @ p["uc"].T
    dr = d_rh * h * r * (1 - r)
    g["wz"] += xt.T @ dz
    g["wr"] += xt.T @ dr
    g["wc"] += xt.T @ dc
    g["uz"] += h.T @ dz
    g["ur"] += h.T @ dr
    g["uc"] += (h if bug == "reset_forgotten" else r * h).T @ dc
    back = dz @ p["uz"].T + dr @ p["ur"].T + d_rh * r
    if bug == "reset_path":
        back = back - dr @ p["ur"].T
    return back if bug == "leak_path" else back + dh * (1 - z)


def gru_draw(rng):
    p = {name: 0.6 * rng.normal(size=(3, 4)) for name in ("wz", "wr", "wc")}
    p |= {name: 0.6 * rng.normal(size=(4, 4)) for name in ("uz", "ur", "uc")}
    return p, rng.normal(size=(8, 5, 3)), rng.normal(size=(8, 4))


# --- LSTM with one matrix for the four gates


def lstm_loss(p, x, y):
    n = p["v"].shape[0]

    def step(carry, xt):
        h, c = carry
        z = xt @ p["w"] + h @ p["u"] + p["b"]
        i, f, o = jax.nn.sigmoid(z[:, :n]), jax.nn.sigmoid(z[:, n : 2 * n]), z[:, 2 * n : 3 * n]
        c = f * c + i * jnp.tanh(z[:, 3 * n :])
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    zero = jnp.zeros((len(x), n), x.dtype)
    (h, _), _ = jax.lax.scan(step, (zero, zero), x.swapaxes(0, 1))
    return jnp.mean(jax.nn.softplus(h @ p["v"]) - y * (h @ p["v"]))


def lstm_forward(p, x):
    n = len(p["v"])
    h = c = np.zeros((len(x), n), x.dtype)
    tape = []
    for xt in x.swapaxes(0, 1):
        z = xt @ p["w"] + h @ p["u"] + p["b"]
        i, f, o = (sigmoid(z[:, k * n : (k + 1) * n]) for k in range(3))
        a = np.tanh(z[:, 3 * n :])
        new = f * c + i * a
        tape.append((xt, h, c, i, f, o, a, new))
        h, c = o * np.tanh(new), new
    return h, tape


@numpy_style
def lstm_grad(p, x, y, bug=""):
    h, tape = lstm_forward(p, x)
    d_out = (sigmoid(h @ p["v"]) - y) / len(x)
    g = {name: np.zeros_like(value) for name, value in p.items()}
    g["v"] = h.T @ d_out
    dh, dc = np.outer(d_out, p["v"]), 0
    for k, frame in enumerate(reversed(tape)):
        dz, dc = lstm_step(frame, dh, 0 if bug == "cell_carry" else dc, bug)
        xt, before = frame[:2]
        g["w"] += xt.T @ dz
        g["u"] += before.T @ dz
        g["b"] += dz.mean(0) if bug == "b_mean" else dz.sum(0)
        dh = dz @ p["u"].T
        if bug == "hidden_carry" or (bug == "truncated" and k == 1):
            dh = 0 * dh
        if bug == "truncated" and k == 1:
            dc = 0
    return g


def lstm_step(frame, dh, dc, bug):
    """(dz of the four gates, dc of the step before)."""
    _, _, before, i, f, o, a, c = frame
    t = np.tanh(c)
    dc = dc + dh * o * (1 if bug == "tanh_c" else 1 - t**2)
    di, df, do, da = dc * a, dc * before, dh * t, dc * i
    if bug == "forget_of_new":
        df = dc * c
    slope = a * (1 - a) if bug == "candidate_slope" else 1 - a**2
    parts = di * i * (1 - i), df * f * (1 - f), do * o * (1 - o), da * slope
    if bug == "gates_permuted":
        parts = parts[1], parts[0], parts[2], parts[3]
    return np.concatenate(parts, axis=1), dc * f


def lstm_draw(rng):
    n, h = 3, 4
    p = {
        "w": rng.normal(size=(n, 4 * h)),
        "u": 0.5 * rng.normal(size=(h, 4 * h)),
        "b": 0.5 * rng.normal(size=4 * h),
        "v": rng.normal(size=h),
    }
    return p, rng.normal(size=(9, 5, n)), rng.integers(0, 2, 9).astype(float)


CASES = [
    *build(
        "elman", "recurrent", "numpy rows",
        loss=elman_loss, grad=elman_grad, draw=elman_draw,
        bugs={
            "sum": "batch_mean_missing", "cut": "timesteps_truncated",
            "no_carry": "timesteps_truncated path_dropped",
            "no_tanh": "activation_derivative_missing",
            "previous_tanh": "activation_derivative_wrong stale_operand",
            "last_step_only": "timesteps_truncated shared_weight_missed",
            "same_h": "stale_operand", "b_assigned": "timesteps_truncated shared_weight_missed",
            "wh_not_transposed": "transpose",
        },
        leaf=("zero 4", "transpose 2"),
    ),
    *build(
        "elman-last", "recurrent", "scan",
        loss=last_loss, grad=last_grad, draw=last_draw,
        bugs={
            "twice": "batch_mean_doubled", "sign": "sign",
            "no_square": "activation_derivative_wrong",
            "first_step_lost": "timesteps_truncated shared_weight_missed",
            "only_last": "timesteps_truncated shared_weight_missed", "time_mean": "scale",
        },
        leaf=("entry 0",),
    ),
    *build(
        "gru", "recurrent", "numpy rows",
        loss=gru_loss, grad=gru_grad, draw=gru_draw,
        bugs={
            "two_steps_lost": "timesteps_truncated shared_weight_missed", "z_sign": "sign",
            "z_no_slope": "activation_derivative_missing",
            "reset_forgotten": "stale_operand", "reset_path": "path_dropped",
            "leak_path": "path_dropped",
        },
        leaf=("swap 1 2",),
    ),
    *build(
        "lstm", "recurrent", "numpy rows",
        loss=lstm_loss, grad=lstm_grad, draw=lstm_draw,
        bugs={
            "b_mean": "bias_reduction_wrong batch_mean_doubled",
            "cell_carry": "path_dropped timesteps_truncated",
            "hidden_carry": "path_dropped timesteps_truncated",
            "truncated": "timesteps_truncated",
            "tanh_c": "activation_derivative_missing", "forget_of_new": "stale_operand",
            "candidate_slope": "activation_derivative_wrong", "gates_permuted": "unknown",
        },
    ),
]  # fmt: skip
