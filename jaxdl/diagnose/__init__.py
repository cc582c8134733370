"""What keeps a network from working, in plain words: `report(observe(model, loss, ...))`."""

from jaxdl.diagnose.bias import BiasVariance, bias_variance
from jaxdl.diagnose.checks import (
    ByHeart,
    FirstLoss,
    RateRange,
    initial_loss,
    learning_rate_range,
    overfit_one_batch,
)
from jaxdl.diagnose.curves import Curve, learning_curve, model_size_curve
from jaxdl.diagnose.depth import LayerStatistics, layer_statistics
from jaxdl.diagnose.findings import Finding
from jaxdl.diagnose.labels import SecondOpinion, second_opinion
from jaxdl.diagnose.power import MoreData, PowerLaw, more_data, power_law, predict_error
from jaxdl.diagnose.reporting import Report, chart, report
from jaxdl.diagnose.tables import Leak, Scales, Shift, scales, shift, telling_features
from jaxdl.diagnose.watch import Run, observe

__all__ = [
    "BiasVariance",
    "ByHeart",
    "Curve",
    "Finding",
    "FirstLoss",
    "LayerStatistics",
    "Leak",
    "MoreData",
    "PowerLaw",
    "RateRange",
    "Report",
    "Run",
    "Scales",
    "SecondOpinion",
    "Shift",
    "bias_variance",
    "chart",
    "initial_loss",
    "layer_statistics",
    "learning_curve",
    "learning_rate_range",
    "model_size_curve",
    "more_data",
    "observe",
    "overfit_one_batch",
    "power_law",
    "predict_error",
    "report",
    "scales",
    "second_opinion",
    "shift",
    "telling_features",
]
