"""What keeps a network from working: bias and variance, learning curves."""

from jaxdl.diagnose.bias import BiasVariance, bias_variance
from jaxdl.diagnose.curves import Curve, learning_curve, model_size_curve
from jaxdl.diagnose.power import MoreData, PowerLaw, more_data, power_law, predict_error

__all__ = [
    "BiasVariance",
    "Curve",
    "MoreData",
    "PowerLaw",
    "bias_variance",
    "learning_curve",
    "model_size_curve",
    "more_data",
    "power_law",
    "predict_error",
]
