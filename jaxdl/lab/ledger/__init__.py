"""The ledger: every finding on one page, and the README's table of verdicts."""

from jaxdl.lab.ledger.document import write
from jaxdl.lab.ledger.evidence import keep
from jaxdl.lab.ledger.readme import readme_table, with_table

__all__ = ["keep", "readme_table", "with_table", "write"]
