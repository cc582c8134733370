"""The loss as a tape: every equation of its jaxpr, run in NumPy, with each value kept.

Calls are inlined, branches taken and short scans unrolled, so that what remains is a list of
nodes in the order of execution. A node knows where it comes from (`where`: the lines of the
caller's code, then its position inside inlined bodies): nodes of one `where` are repetitions of
one line, such as the time steps of a recurrent network or a loop over examples.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxdl.gradcheck.replay.rules import RULES
from jaxdl.gradcheck.replay.rules.elementwise import BINARY


@dataclass
class Node:
    """One executed equation."""

    index: int
    prim: str
    params: dict[str, Any]
    ins: tuple[int, ...]
    outs: tuple[int, ...]
    where: Hashable
    opaque: Callable | None = None  # backward of an equation that JAX differentiates
    again: Callable | None = None  # its forward
    line: str | None = None  # `structure.line` of it, once asked for

    def outputs(self, ins) -> list:
        """What it makes of other operands."""
        if self.again is not None:
            return self.again(*ins)
        return [np.asarray(RULES[self.prim][0](self.params, *ins))]


@dataclass
class Tape:
    """An execution of the loss. Variables are numbered; all lists are indexed by variable.

    Attributes:
        nodes: in order of execution.
        values: the value of every variable.
        active: does it depend on a floating parameter, differentiably?
        leaves: bit mask of the parameter leaves that it depends on.
        data: does it depend on an array that is not a parameter?
        producer: index of the node that made it, or None.
        consumers: (node index, position) of every use.
        raw: variable of every parameter leaf, where its gradient arrives.
        inputs: the leaves as the loss uses them: copies of `raw` made by nodes 0, 1, ...
        arguments: variables of the traced further arguments.
        output: variable of the loss.
        memo: what others remember about this tape.
    """

    nodes: list[Node] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    active: list[bool] = field(default_factory=list)
    leaves: list[int] = field(default_factory=list)
    data: list[bool] = field(default_factory=list)
    producer: list[int | None] = field(default_factory=list)
    consumers: list[list[tuple[int, int]]] = field(default_factory=list)
    raw: tuple[int, ...] = ()
    inputs: tuple[int, ...] = ()
    arguments: tuple[int, ...] = ()
    output: int = -1
    memo: dict[Any, Any] = field(default_factory=dict)

    def variable(self, value, *, active=False, leaves=0, data=False, producer=None) -> int:
        """A new variable."""
        self.values.append(value)
        self.active.append(active)
        self.leaves.append(leaves)
        self.data.append(data)
        self.producer.append(producer)
        self.consumers.append([])
        return len(self.values) - 1

    def shape(self, var: int) -> tuple[int, ...]:
        """Shape of a variable's value."""
        return np.shape(self.values[var])

    def maker(self, var: int) -> Node | None:
        """The node that made a variable, or None for what was given."""
        index = self.producer[var]
        return None if index is None else self.nodes[index]

    def record(
        self, prim, params, ins, outs_values, where, opaque=None, again=None
    ) -> tuple[int, ...]:
        """Append a node; returns the variables of its outputs."""
        index = len(self.nodes)
        differentiable = opaque is not None or (prim in RULES and RULES[prim][1] is not None)
        moving = differentiable and prim != "stop_gradient" and any(self.active[i] for i in ins)
        leaves = 0
        for i in ins:
            leaves |= self.leaves[i] if self.active[i] else 0
        outs = tuple(
            self.variable(
                value,
                active=(act := moving and jnp.issubdtype(value.dtype, np.inexact)),
                leaves=leaves if act else 0,
                data=any(self.data[i] for i in ins),
                producer=index,
            )
            for value in outs_values
        )
        self.nodes.append(Node(index, prim, params, tuple(ins), outs, where, opaque, again))
        for position, i in enumerate(ins):
            self.consumers[i].append((index, position))
        return outs

    def apply(self, prim, params, ins, where) -> tuple[int, ...]:
        """Run a primitive that has a rule of ours."""
        if prim in BINARY:
            ins = self.aligned(ins, where)
        out = RULES[prim][0](params, *(self.values[i] for i in ins))
        return self.record(prim, params, ins, [np.asarray(out)], where)

    def aligned(self, ins, where) -> list[int]:
        """Operands of a binary primitive, with every repetition of an active one made a node."""
        shape = np.broadcast_shapes(*(self.shape(i) for i in ins))
        return [self.repeated(i, shape, (where, k)) for k, i in enumerate(ins)]

    def repeated(self, var, shape, where) -> int:
        """The variable, broadcast to `shape` by a node of its own if it is active."""
        if not self.active[var] or self.shape(var) == shape:
            return var
        rank = len(self.shape(var))
        dims = tuple(range(len(shape) - rank, len(shape)))
        params = {"shape": shape, "broadcast_dimensions": dims}
        return self.apply("broadcast_in_dim", params, (var,), where)[0]

    def key(self, node: Node) -> tuple:
        """What repetitions of one line share: primitive, place, leaves it depends on."""
        return (node.prim, node.where, self.leaves[node.outs[0]])

    @cached_property
    def groups(self) -> dict[tuple, list[int]]:
        """Nodes by `key`, in order of execution."""
        found = defaultdict(list)
        for node in self.nodes:
            found[self.key(node)].append(node.index)
        return dict(found)

    def line(self, node: Node) -> tuple:
        """What repetitions of one line share, whatever leaves they depend on."""
        return (node.prim, node.where)

    @cached_property
    def above(self) -> list[int]:
        """For every node, a bit mask of the active nodes that it depends on."""
        masks: list[int] = []
        for node in self.nodes:
            mask = 0
            for v in node.ins:
                made = self.producer[v]
                if made is not None and self.active[v]:
                    mask |= masks[made] | 1 << made
            masks.append(mask)
        return masks

    def nested(self, indices: list[int]) -> bool:
        """Does one of these nodes depend on another?"""
        together = 0
        for index in indices:
            together |= 1 << index
        return any(self.above[index] & together for index in indices)

    @cached_property
    def lines(self) -> dict[tuple, list[int]]:
        """Nodes by `line`, in order of execution."""
        found = defaultdict(list)
        for node in self.nodes:
            found[self.line(node)].append(node.index)
        return dict(found)

    @cached_property
    def turn(self) -> list[int]:
        """How often a node's line has run before it."""
        at = [0] * len(self.nodes)
        for members in self.lines.values():
            for k, index in enumerate(members):
                at[index] = k
        return at

    @cached_property
    def ordinal(self) -> list[int]:
        """Position of every node in its group."""
        at = [0] * len(self.nodes)
        for members in self.groups.values():
            for k, index in enumerate(members):
                at[index] = k
        return at

    def moving(self, node: Node) -> list[int]:
        """Positions of the operands that a cotangent is sent to."""
        key = ("moving", node.index)
        if key not in self.memo:
            self.memo[key] = [p for p, v in enumerate(node.ins) if self.active[v]]
        return self.memo[key]

    def operands(self, indices: Iterable[int], position: int) -> list[int | None]:
        """The operand at a position of each node; None where a stack that grows has fewer."""
        ins = (self.nodes[i].ins for i in indices)
        return [own[position] if position < len(own) else None for own in ins]

    def users(self, var: int) -> list[tuple[int, int]]:
        """Uses of a variable through which a cotangent comes back."""
        return [(n, p) for n, p in self.consumers[var] if self.is_active(n)]

    def is_active(self, index: int) -> bool:
        """Does a cotangent pass through this node?"""
        return any(self.active[v] for v in self.nodes[index].outs)
