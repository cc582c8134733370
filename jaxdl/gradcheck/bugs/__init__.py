"""Families of bugs: each module knows one kind of mistake and the gradients it gives."""
