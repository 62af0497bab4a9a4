"""Explain: where a network's numbers come from, and what in an image they depend on.

Everything runs the network's layers as written, in inference mode, and changes nothing of it.
Layers are named by an index, an address ("4.0" is the first layer inside the block at index 4) or a
name ("residual1.conv1"); `nodes` lists them.
"""

from glassbox.explain.fields import measured_field, receptive_field
from glassbox.explain.gradients import Back, WeightGradient, back_behind, gradient_behind
from glassbox.explain.nodes import Node, nodes
from glassbox.explain.passes import (
    Accuracies,
    Activations,
    LossGradients,
    accuracy_without,
    activations_with,
    gradients_with,
    predict_with,
)
from glassbox.explain.pictures import (
    ClassMap,
    Exciting,
    Maximal,
    fgsm,
    grad_cam,
    input_gradient,
    maximal_activation,
    most_exciting,
    occlusion,
    saliency,
)
from glassbox.explain.sums import Part, Sum, sum_behind

__all__ = [
    "Accuracies", "Activations", "Back", "ClassMap", "Exciting", "LossGradients", "Maximal", "Node",
    "Part", "Sum", "WeightGradient", "accuracy_without", "activations_with", "back_behind", "fgsm",
    "grad_cam", "gradient_behind", "gradients_with", "input_gradient", "maximal_activation",
    "measured_field", "most_exciting", "nodes", "occlusion", "predict_with", "receptive_field",
    "saliency", "sum_behind",
]  # fmt: skip
