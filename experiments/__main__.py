"""`python -m experiments [NAME ...] [--size smoke|default|full] [--list] [--out FOLDER]`."""

import sys

import experiments
from jaxdl import lab

if __name__ == "__main__":
    sys.exit(lab.main_of_package(experiments))
