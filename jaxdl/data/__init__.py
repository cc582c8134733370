"""Real and generated data, splits, scaling, mini-batches and augmentation of images."""

from jaxdl.data import augment
from jaxdl.data.batches import epoch_indices, n_batches
from jaxdl.data.check import check, check_finite, check_labels
from jaxdl.data.dataset import Data, Dataset, as_dataset, column, take
from jaxdl.data.mnist import mnist10k, read_idx
from jaxdl.data.scaling import AffineState, Scaler, WhitenState, min_max, standardize, whiten
from jaxdl.data.sources import circles, flower, load, moons, names, spirals
from jaxdl.data.split import Split, part_counts, split
from jaxdl.data.twosample import TwoSample, same_distribution

__all__ = [
    "AffineState",
    "Data",
    "Dataset",
    "Scaler",
    "Split",
    "TwoSample",
    "WhitenState",
    "as_dataset",
    "augment",
    "check",
    "check_finite",
    "check_labels",
    "circles",
    "column",
    "epoch_indices",
    "flower",
    "load",
    "min_max",
    "mnist10k",
    "moons",
    "n_batches",
    "names",
    "part_counts",
    "read_idx",
    "same_distribution",
    "spirals",
    "split",
    "standardize",
    "take",
    "whiten",
]
