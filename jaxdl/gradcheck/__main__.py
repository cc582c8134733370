"""`python -m jaxdl.gradcheck`: the same as `jaxdl gradcheck`."""

import sys

from jaxdl.gradcheck.command import command

if __name__ == "__main__":
    sys.exit(command())
