"""Messages that say what was expected, what arrived and what to do."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


def unknown_name(kind: str, name: object, known: Iterable[str]) -> ValueError:
    """The error for a name outside `known`, with the nearest match suggested."""
    known = sorted(known)
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return ValueError(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(known)}.")


def lookup(kind: str, name: str, table: Mapping[str, T]) -> T:
    """`table[name]`, or a ValueError that names the nearest match.

    Raises:
        ValueError: if `name` is not in `table`.
    """
    if name not in table:
        raise unknown_name(kind, name, table)
    return table[name]
