"""Training as one compiled program: `fit` is the pure loop, `run` drives it and can be watched."""

from jaxdl.train.drive import Progress, Run, run
from jaxdl.train.fit import Result, fit
from jaxdl.train.loop import Best, Data, Plan, State

__all__ = ["Best", "Data", "Plan", "Progress", "Result", "Run", "State", "fit", "run"]
