"""One file per claim or assignment. `python -m experiments --list` names them."""
