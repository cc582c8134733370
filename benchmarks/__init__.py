"""Ratios against peers and against the machine's own limit, measured in one run."""
