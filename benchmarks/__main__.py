"""`python -m benchmarks [NAME ...] [--quick]`: each NAME is a module with `run(quick) -> dict`."""

import argparse
import importlib
import pkgutil
import sys

import benchmarks
from jaxdl import errors

NOT_BENCHMARKS = {"harness", "__main__"}


def names() -> list[str]:
    modules = (m.name for m in pkgutil.iter_modules(benchmarks.__path__))
    return sorted(n for n in modules if n not in NOT_BENCHMARKS and n[0] != "_")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names())}")
    parser.add_argument("--quick", action="store_true", help="fewer repeats: shows that it runs")
    chosen = parser.parse_args()
    for name in chosen.names:
        if name not in names():
            print(errors.unknown_name("benchmark", name, names()), file=sys.stderr)
            return 2
    for name in chosen.names or names():
        importlib.import_module(f"benchmarks.{name}").run(quick=chosen.quick)
    return 0


if __name__ == "__main__":
    sys.exit(main())
