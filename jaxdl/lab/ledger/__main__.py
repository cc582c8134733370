"""`python -m jaxdl.lab.ledger`: write the page again; `--readme README.md`: its table too."""

import pathlib
import sys
from collections.abc import Sequence
from typing import Annotated

from jaxdl.lab import ledger


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the ledger and say where it is; returns the exit code."""
    import tyro

    def make(
        results: pathlib.Path = pathlib.Path("results"),
        evidence: pathlib.Path = pathlib.Path("experiments/evidence"),
        readme: pathlib.Path | None = None,
        keep: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    ) -> None:
        """Write the ledger from the results that are there, without running anything.

        Args:
            results: the folder of your own runs; the page goes there.
            evidence: the folder of committed full-size runs.
            readme: a README whose table of verdicts is made again from the evidence.
            keep: first copy your full-size findings into the evidence.
        """
        if keep:
            for path in ledger.keep(results, evidence):
                print(path)
        print(ledger.write(results, evidence))
        if readme is not None:
            text = readme.read_text(encoding="utf-8")
            table = ledger.readme_table(evidence)
            readme.write_text(ledger.with_table(text, table), encoding="utf-8")
            print(readme)

    tyro.cli(make, prog="python -m jaxdl.lab.ledger", args=arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
