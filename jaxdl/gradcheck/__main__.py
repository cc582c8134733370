"""`python -m jaxdl.gradcheck`: the same as `jaxdl gradcheck`."""

import sys

from jaxdl.gradcheck.command import main

if __name__ == "__main__":
    sys.exit(main())
