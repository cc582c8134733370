"""Which parameters are filters: kernels of a convolution, or taps of one written as a loop."""

from jaxdl.gradcheck.replay.rules.structural import PLUMBING
from jaxdl.gradcheck.replay.tape import Tape


def is_filter(tape: Tape, leaf: int, axis: int) -> bool:
    """Is a leaf the kernel of a convolution, or does it hold a filter's taps along this axis?"""
    users = tape.users(tape.inputs[leaf])
    kernel = any(tape.nodes[n].prim == "conv_general_dilated" for n, _ in users)
    return kernel or has_taps(tape, leaf, axis)


def shift_words(tape: Tape, leaf: int, axis: int) -> tuple[str, ...]:
    """What a gradient is called whose entries are moved by one along an axis of a leaf."""
    if is_filter(tape, leaf, axis):
        return ("padding_or_stride_shift",)
    return ("stale_operand", "padding_or_stride_shift")


def has_windows(tape: Tape, leaf: int) -> bool:
    """Is a leaf multiplied with windows: an array that is looked up, or put together of slices?"""
    return any(
        tape.nodes[n].prim in ("dot_general", "mul")
        and any(_is_of_windows(tape, v) for v in tape.nodes[n].ins)
        for var in _arrangements(tape, tape.inputs[leaf])
        for n, _ in tape.users(var)
    )


def _arrangements(tape: Tape, var: int) -> list[int]:
    """An array with its entries arranged in other ways, as far as a product takes one of them."""
    found, stack = [], [var]
    while stack:
        found.append(stack.pop())
        users = (tape.nodes[n] for n, _ in tape.users(found[-1]))
        stack += [node.outs[0] for node in users if node.prim in PLUMBING - {"slice", "index"}]
    return found


def _is_of_windows(tape: Tape, var: int) -> bool:
    made = tape.maker(var)
    while made is not None and made.prim in PLUMBING - {"slice", "index"}:
        made = tape.maker(made.ins[0])
    if made is None or made.prim not in ("gather", "concatenate", "stack"):
        return False
    return made.prim == "gather" or len(made.ins) > 1


def has_taps(tape: Tape, leaf: int, axis: int) -> bool:
    """Are the slices of a leaf along an axis the taps of a filter: products with each, added up?"""
    ends, pieces = set(), 0
    for index, _ in tape.users(tape.inputs[leaf]):
        piece = tape.nodes[index].outs[0]
        shape, whole = tape.shape(piece), tape.shape(tape.inputs[leaf])
        if tape.nodes[index].prim in PLUMBING and _is_cut(shape, whole, axis):
            pieces += 1
            ends.add(_added_up(tape, piece))
    return pieces > 1 and len(ends) == 1 and None not in ends


def _is_cut(shape: tuple, whole: tuple, axis: int) -> bool:
    """Is it the whole but for this one axis, cut to length 1 or taken out?"""
    rest = (*whole[:axis], *whole[axis + 1 :])
    return shape == rest or shape == (*whole[:axis], 1, *whole[axis + 1 :])


def _added_up(tape: Tape, var: int) -> int | None:
    """The last of the sums that a variable enters after one product, or None."""
    products, end = 0, None
    while len(users := tape.users(var)) == 1:
        node = tape.nodes[users[0][0]]
        if node.prim in ("mul", "dot_general"):
            products += 1
        elif node.prim in ("add", "add_any") and products == 1:
            end = node.outs[0]
        elif node.prim not in PLUMBING:
            break
        if products > 1:
            break
        var = node.outs[0]
    return end
