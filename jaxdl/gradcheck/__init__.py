"""Check a hand-derived gradient, and find out what is wrong with it."""
