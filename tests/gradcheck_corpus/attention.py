"""Attention with one head, embeddings, and the small language models made from them."""

import jax
import jax.numpy as jnp
import numpy as np

from .activations import softmax
from .case import build, numpy_style

# --- self-attention, causal mask, residual connection, mean squared error


def attention_loss(causal, residual):
    def loss(p, x, y):
        q, k, v = x @ p["q"], x @ p["k"], x @ p["v"]
        score = jnp.einsum("mtd,msd->mts", q, k) / np.sqrt(q.shape[2])
        if causal:
            mask = jnp.tril(jnp.ones(score.shape[1:], bool))
            score = jnp.where(mask, score, -1e9)
        out = jax.nn.softmax(score) @ v @ p["o"]
        return 0.5 * jnp.sum((out + (x if residual else 0) - y) ** 2) / len(x)

    return loss


def attention_grad(causal, residual):
    @numpy_style
    def grad(p, x, y, bug=""):
        scale = x.dtype.type(1 / np.sqrt(p["q"].shape[1]))
        q, k, v = x @ p["q"], x @ p["k"], x @ p["v"]
        score = q @ k.swapaxes(1, 2) * scale
        visible = np.tril(np.ones(score.shape[1:], bool)) if causal else True
        weight = softmax(np.where(visible, score, -1e9).astype(x.dtype))
        mixed = weight @ v
        d_out = (mixed @ p["o"] + (x if residual else 0) - y) / (1 if bug == "sum" else len(x))
        d_mixed = d_out @ (p["o"] if bug == "o_not_transposed" else p["o"].T)
        d_weight = d_mixed @ v.swapaxes(1, 2)
        d_v = (weight if bug == "weight_not_transposed" else weight.swapaxes(1, 2)) @ d_mixed
        d_score = softmax_backward(weight, d_weight, bug)
        if bug != "scale_forgotten":
            d_score = d_score * scale
        d_q, d_k = d_score @ k, d_score.swapaxes(1, 2) @ q
        if bug == "query_path":
            d_q = 0 * d_q
        if bug == "key_path":
            d_k = 0 * d_k
        if bug == "key_for_query":
            d_q = d_score @ q
        if bug == "score_not_transposed":
            d_k = d_score @ q
        return {
            "q": np.einsum("mti,mtj->ij", x, d_q),
            "k": np.einsum("mti,mtj->ij", x, d_k),
            "v": np.einsum("mti,mtj->ij", x[:, ::-1] if bug == "time_reversed" else x, d_v),
            "o": np.einsum("mti,mtj->ij", mixed, d_out),
        }

    return grad


def softmax_backward(weight, d_weight, bug):
    if bug == "diagonal":
        return weight * (1 - weight) * d_weight
    if bug == "no_softmax":
        return d_weight
    if bug == "not_centred":
        return weight * d_weight
    return weight * (d_weight - (weight * d_weight).sum(-1, keepdims=True))


def attention_draw(d, h, t, m):
    def draw(rng):
        p = {name: rng.normal(size=(d, h)) / np.sqrt(d) for name in "qkv"}
        p["o"] = rng.normal(size=(h, d)) / np.sqrt(h)
        return p, rng.normal(size=(m, t, d)), rng.normal(size=(m, t, d))

    return draw


ATTENTION_WORDS = {
    "sum": "batch_mean_missing",
    "o_not_transposed": "transpose",
    "weight_not_transposed": "transpose",
    "score_not_transposed": "transpose",
    "scale_forgotten": "scale",
    "query_path": "path_dropped zero_leaf",
    "key_path": "path_dropped zero_leaf",
    "key_for_query": "stale_operand",
    "time_reversed": "unknown stale_operand",
    "diagonal": "softmax_jacobian_diagonal",
    "no_softmax": "activation_derivative_missing",
    "not_centred": "path_dropped unknown",
}


def attention(name, shape, bugs, causal=False, residual=False, leaf=()):
    return build(
        name, "attention", "numpy rows",
        loss=attention_loss(causal, residual), grad=attention_grad(causal, residual),
        draw=attention_draw(*shape), bugs={bug: ATTENTION_WORDS[bug] for bug in bugs.split()},
        leaf=leaf,
    )  # fmt: skip


# --- bag of words: embeddings averaged over a sentence, then softmax


def words_loss(p, tokens, label):
    z = p["table"][tokens].mean(1) @ p["w"]
    return -jnp.mean(jax.nn.log_softmax(z)[jnp.arange(len(tokens)), label])


@numpy_style
def words_grad(p, tokens, label, bug=""):
    h = p["table"][tokens].mean(1)
    dz = softmax(h @ p["w"])
    dz[np.arange(len(tokens)), label] -= 1
    dz /= len(tokens)
    dh = dz @ p["w"].T / (1 if bug == "sentence_sum" else tokens.shape[1])
    table = np.zeros_like(p["table"])
    for t in range(tokens.shape[1]):
        if bug == "assigned":
            table[tokens[:, t]] = dh
        elif bug == "fancy_add":
            table[tokens[:, t]] += dh  # repeated tokens of one step are counted once
        elif bug != "first_word_only" or t == 0:
            np.add.at(table, tokens[:, t], dh)
    return {"table": table, "w": h.T @ dz}


def words_draw(rng):
    p = {"table": rng.normal(size=(6, 4)), "w": rng.normal(size=(4, 3))}
    return p, rng.integers(0, 6, (8, 5)), rng.integers(0, 3, 8)


# --- next-word model whose output matrix is the embedding table again


def tied_loss(table, tokens):
    h = jnp.tanh(table[tokens[:, :-1]])
    z = h @ table.T
    picked = jnp.take_along_axis(jax.nn.log_softmax(z), tokens[:, 1:, None], 2)
    return -jnp.mean(picked)


@numpy_style
def tied_grad(table, tokens, bug=""):
    inputs, targets = tokens[:, :-1].ravel(), tokens[:, 1:].ravel()
    h = np.tanh(table[inputs])
    dz = softmax(h @ table.T)
    dz[np.arange(len(targets)), targets] -= 1
    dz /= tokens.shape[0] if bug == "time_sum" else len(targets)
    dh = dz @ table
    d_in = dh if bug == "no_tanh" else dh * (1 - h**2)
    out = dz.T @ h
    if bug == "output_only":
        return out
    found = np.zeros_like(table) if bug == "input_only" else out
    np.add.at(found, inputs, d_in)
    return found


def tied_draw(rng):
    return rng.normal(size=(7, 4)), rng.integers(0, 7, (5, 6))


CASES = [
    *attention("attention", (5, 3, 4, 6), "sum diagonal no_softmax scale_forgotten query_path "
               "key_for_query weight_not_transposed", leaf=("swap 0 2",)),
    *attention("attention-causal", (4, 4, 5, 7), "o_not_transposed score_not_transposed key_path "
               "not_centred diagonal", causal=True, leaf=("transpose 3", "half 2")),
    *attention("attention-residual", (6, 2, 3, 5), "time_reversed no_softmax", causal=True,
               residual=True, leaf=("row 1",)),
    *build(
        "bag-of-words", "attention", "loops",
        loss=words_loss, grad=words_grad, draw=words_draw,
        bugs={
            "sentence_sum": "scale", "assigned": "shared_weight_missed",
            "fancy_add": "shared_weight_missed examples_dropped",
            "first_word_only": "shared_weight_missed timesteps_truncated",
        },
    ),
    *build(
        "tied-words", "attention", "numpy rows",
        loss=tied_loss, grad=tied_grad, draw=tied_draw, batch=(0,),
        bugs={
            "time_sum": "scale", "no_tanh": "activation_derivative_missing",
            "output_only": "shared_weight_missed path_dropped",
            "input_only": "shared_weight_missed path_dropped",
        },
        leaf=("negate 0",),
    ),
]  # fmt: skip
