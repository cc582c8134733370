"""Which week of the course a section of the notes belongs to."""

import dataclasses

from jaxdl.lab.ledger import words


@dataclasses.dataclass(frozen=True)
class Part:
    """A week of the course: a key for addresses, its place, its subject, its sections."""

    key: str
    week: str
    name: str
    sections: tuple[str, ...]


PARTS = (
    Part(
        "c1w1",
        "Course 1, week 1",
        "Introduction",
        (
            "Welcome",
            "What is a Neural Network",
            "Supervised Learning with Neural Networks",
            "Why is Deep Learning taking off?",
            "About this Course",
            "Course Resources",
        ),
    ),
    Part(
        "c1w2",
        "Course 1, week 2",
        "Logistic regression",
        (
            "Binary Classification",
            "Logistic Regression",
            "Logistic Regression Cost Function",
            "Gradient Descent",
            "Derivatives",
            "More Derivative Examples",
            "Computation Graph",
            "Derivatives with a Computation Graph",
            "Logistic Regression Gradient Descent",
            "Gradient Descent on m Examples",
            "Vectorization",
            "More Examples of Vectorization",
            "Vectorizing Logistic Regression",
            "Vectorizing Logistic Regression’s Gradient",
            "Broadcasting in Python / A note on python or numpy vectors",
            "Quick tour of Jupyter/iPython Notebooks",
            "Explanation of logistic regression cost function",
        ),
    ),
    Part(
        "c1w3",
        "Course 1, week 3",
        "Shallow networks",
        (
            "Neural Network Overview",
            "Neural Network Representation",
            "Computing a Neural Network’s output",
            "Vectorizing across multiple examples",
            "Justification for vectorized implementation",
            "Activation functions",
            "Why need a nonlinear activation function?",
            "Derivatives of activation functions",
            "Gradient descent for neural networks",
            "Backpropagation intuition",
            "Random Initialization",
        ),
    ),
    Part(
        "c1w4",
        "Course 1, week 4",
        "Deep networks",
        (
            "Deep L-layer neural network",
            "Forward and backward propagation",
            "Forward propagation in a Deep Network",
            "Getting your matrix dimensions right",
            "Why deep representations?",
            "Parameters vs Hyperparameters",
            "What does this have to do with the brain?",
        ),
    ),
    Part(
        "c2w1",
        "Course 2, week 1",
        "Regularization, inputs, gradient checks",
        (
            "Train / Dev / Test sets",
            "Bias / Variance",
            "Basic Recipe for Machine Learning",
            "Regularization",
            "Why regularization reduces overfitting?",
            "Dropout Regularization",
            "Understanding Dropout",
            "Other regularization methods",
            "Normalizing inputs",
            "Vanishing / Exploding gradients",
            "Weight Initialization for Deep Networks",
            "Numerical approximation of gradients",
            "Gradient checking",
            "Gradient Checking Implementation Notes",
        ),
    ),
    Part(
        "c2w2",
        "Course 2, week 2",
        "Optimization",
        (
            "Mini-batch gradient descent",
            "Understanding mini-batch gradient descent",
            "Exponentially weighted averages",
            "Understanding exponentially weighted averages",
            "Bias correction in exponentially weighted averages",
            "Gradient descent with Momentum",
            "RMSprop",
            "Adam optimization algorithm",
            "Learning rate decay",
            "The problem of local optima",
        ),
    ),
    Part("other", "Other", "other sections", ()),
)
"""In the order of the course; the notes tell it backwards."""

_OF = {words.plain(section): part for part in PARTS for section in part.sections}


def part_of(section: str) -> Part:
    """The week of a section, or of the first known one that a longer heading names."""
    heading = words.plain(section)
    if heading in _OF:
        return _OF[heading]
    named = [known for known in _OF if known in heading]
    return _OF[max(named, key=len)] if named else PARTS[-1]
