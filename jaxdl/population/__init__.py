"""Many runs as one program, spread over devices: hyperparameters and seeds are arrays."""

from jaxdl.population.configs import grid
from jaxdl.population.running import Population, prepare, run

__all__ = ["Population", "grid", "prepare", "run"]
