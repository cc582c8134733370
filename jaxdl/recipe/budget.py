"""Time: what a round may cost, and programs that are compiled while others run."""

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from jaxdl.recipe import training
from jaxdl.recipe.problem import Problem
from jaxdl.recipe.training import Family, Program

MOST = 16
"""Configurations of a round at most."""

SHARE = 0.5
"""Of the time that is left, so much may be planned for a round: plans go wrong by a factor 2."""

COMPILE_SECONDS = 4.0


class Clock:
    """How long a round may take; measured speeds correct the guesses."""

    def __init__(self, seconds: float, started: float):
        self.end, self.slower, self.compiling = started + seconds, 1.0, COMPILE_SECONDS

    def left(self) -> float:
        """Seconds until the end."""
        return self.end - time.monotonic()

    def over(self) -> bool:
        """Whether the end is reached."""
        return self.left() <= 0

    def affordable(self, work: float, new: bool) -> int:
        """How many configurations of `work` nominal seconds each fit into a share of the rest."""
        free = SHARE * (self.left() - (self.compiling if new else 0.0))
        return int(min(free / (work * self.slower), MOST))

    def learn(self, expected: float, took: float, compiling: float) -> None:
        """Correct the guesses by what a round of `expected` nominal seconds took."""
        self.slower = took / expected
        self.compiling = max(self.compiling, compiling)


class Programs:
    """Compiled programs by family; what is surely needed next is compiled at the same time."""

    def __init__(self, problem: Problem):
        self.problem, self.pool = problem, ThreadPoolExecutor(2)
        self.futures: dict[Family, Future[Program]] = {}

    def start(self, family: Family) -> None:
        """Begin to compile the program of a family, unless that was begun before."""
        if family not in self.futures:
            compiled = partial(training.compile_program, self.problem, family)
            self.futures[family] = self.pool.submit(compiled)

    def ready(self, family: Family) -> bool:
        """Whether the program can run at once."""
        return family in self.futures and self.futures[family].done()

    def get(self, family: Family) -> Program:
        """The program, waited for if need be."""
        self.start(family)
        return self.futures[family].result()

    def get_within(self, family: Family, seconds: float) -> Program | None:
        """The program, or None if it is not there after so many seconds."""
        self.start(family)
        try:
            return self.futures[family].result(min(max(seconds, 0.0), threading.TIMEOUT_MAX))
        except TimeoutError:
            return None

    def close(self) -> None:
        """Drop what was begun and is not needed."""
        self.pool.shutdown(wait=False, cancel_futures=True)
