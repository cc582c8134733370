"""`python -m experiments [NAME ...] [--all] [--size SIZE] [--list] [--again] [--out FOLDER]`."""

import sys

import experiments
from jaxdl import devices, lab

if __name__ == "__main__":
    devices.use_cpu_devices()
    sys.exit(lab.main_of_package(experiments))
