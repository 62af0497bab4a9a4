"""The official tests of ONNX's operators, run through `glassbox.bridges.onnx.import_model`.

A test is one model with inputs and the outputs it must give.  Every test whose operators we have
layers for is collected; it must pass, or be refused by the import for the reason that EXCLUDED
gives.  So nothing is left out in silence, and what is left out can never give a wrong number.
"""

import fnmatch
import os
import re
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.backend.base import Backend, BackendRep
from onnx.backend.test.loader import load_model_tests

from glassbox.bridges.onnx import import_model
from glassbox.engine.layer import Context
from glassbox.engine.step import forward, to_batch_first, to_batch_last

pytestmark = pytest.mark.slow  # finding the tests takes seconds
KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator")  # "real" ones are downloads
OPERATORS = {
    # Not "Cast": its tests are about types that no network here has.
    "Add", "AveragePool", "BatchNormalization", "Clip", "Concat", "Conv", "Div", "Dropout",
    "Flatten", "Gemm", "GlobalAveragePool", "Identity", "LeakyRelu", "LogSoftmax", "MatMul",
    "MaxPool", "Mul", "Pad", "ReduceMean", "Relu", "Reshape", "Sigmoid", "Softmax", "Squeeze",
    "Sub", "Tanh", "Transpose",
}  # fmt: skip
COLLECTED = {"1.23": 291}  # by version of the package onnx, which brings the tests

# What the import says (a regular expression), and the tests that it says it of.
EXCLUDED = {
    r"it gets \(.*\); expected \(channels": [  # one axis or three, where our windows have two
        "test_Conv1d", "test_Conv1d_dilated", "test_Conv1d_pad*", "test_Conv1d_stride",
        "test_Conv3d", "test_Conv3d_dilated*", "test_Conv3d_no_bias", "test_Conv3d_stride*",
        "test_AvgPool3d*", "test_MaxPool1d", "test_MaxPool1d_stride", "test_MaxPool3d*",
        "test_averagepool_[13]d_default", "test_maxpool_[13]d_default", "test_operator_maxpool",
        "test_maxpool_3d_dilations*", "test_MaxPool1d_stride_padding_dilation",
    ],
    "convolution in groups": ["test_Conv[123]d_groups*", "test_Conv2d_depthwise*"],
    "a dilated mean": ["test_averagepool_[23]d_dilations*"],
    r"its input has the type \w+ and the shape \(\d,\)": [  # nothing that could be the samples
        "test_clip_default_inbounds", "test_clip_example", "test_clip_inbounds",
        "test_clip_min_greater_than_max", "test_clip_outbounds", "test_clip_splitbounds",
        "test_concat_1d_*", "test_div_example", "test_mul_example", "test_sub_example",
        "test_clip_default_inbounds_expanded", "test_dropout_default_old", "test_leakyrelu_example",
        "test_matmul_1d_*", "test_operator_view", "test_sigmoid_example", "test_tanh_example",
    ],
    r"its input has the type U?INT\d+": [
        "test_*_int8", "test_*_int16", "test_div_int32_trunc", "test_*_uint8", "test_*_uint16",
        "test_*_uint32", "test_*_uint64", "test_clip_default_int8_*", "test_edge_pad",
        "test_reflect_pad", "test_wrap_pad", "test_operator_non_float_params",
        "test_maxpool_2d_uint8",
    ],
    "its input has the type UNDEFINED": [  # not a tensor
        "test_identity_opt", "test_identity_sequence"
    ],
    "images as columns": ["test_gemm_transposeA", "test_gemm_all_attributes"],
    r"its bias has the shape \(3, 4\)": ["test_gemm_default_matrix_bias"],  # one for each sample
    r"expected \('features', 'units'\)": [
        "test_matmul_[34]d", "test_matmul_4d_1d", "test_matmul_bcast"
    ],
    "statistics of the batch": ["test_batchnorm_*_training_mode"],
    "2 outputs": [  # a mask, or the places of the maxima
        "test_dropout_default_mask*", "test_maxpool_with_argmax_*", "test_training_dropout*_mask",
    ],
    "training_mode is on": [
        "test_training_dropout", "test_training_dropout_default", "test_training_dropout_zero_ratio"
    ],
    "mixes samples and pixels": ["test_flatten_axis[023]", "test_flatten_negative_axis[124]"],
    r"it goes over axis \d": [  # not the channels
        "test_softmax_axis_[02]", "test_softmax_default_axis", "test_softmax_functional_dim3",
        "test_softmax_negative_axis", "test_log_softmax_dim3", "test_logsoftmax_axis_[02]",
        "test_logsoftmax_default_axis", "test_logsoftmax_negative_axis",
    ],
    "expected one for each channel": [  # as many constants as numbers in an image
        "test_add", "test_sub", "test_mul", "test_div", "test_operator_add_size1_broadcast"
    ],
    "scaled by a positive number for each channel": [  # one for each column
        "test_add_bcast", "test_sub_bcast", "test_mul_bcast", "test_div_bcast"
    ],
    "expected 0 to 6": ["test_clip", "test_clip_default_max", "test_operator_clip"],
    "it joins values": ["test_concat_[23]d_*", "test_operator_concat2"],
    "its output has a border": [
        "test_constant_pad", "test_ConstantPad2d", "test_ZeroPad2d", "test_ReplicationPad2d"
    ],
    "expected a border of one number": [
        "test_constant_pad_*", "test_ReflectionPad2d", "test_operator_pad"
    ],
    "expected height and width": ["test_reduce_mean_*", "test_operator_reduced_mean*"],
    "0 times in the chain": ["test_operator_addmm"],  # a product whose bias is the images
    "make only rows": [
        "test_PixelShuffle", "test_reshape_extended_dims", "test_reshape_negative_dim",
        "test_reshape_reordered_last_dims",
    ],
    "it mixes the samples|it cannot make": [
        "test_reshape_negative_extended_dims", "test_reshape_one_dim",
        "test_reshape_reordered_all_dims",
    ],
    "axes of length 0": ["test_reshape_allowzero_reordered"],
    r"expected \(0, 2, 3, 1\)": [
        "test_operator_permute2", "test_transpose_default", "test_transpose_all_permutations_[1-5]"
    ],
    "only behind a global pool": ["test_squeeze", "test_squeeze_negative_axes"],
}  # fmt: skip


class Network(BackendRep):
    """One model; what it gets beside the images becomes the weights of the file."""

    def __init__(self, model):
        self.model = model

    def run(self, inputs, **kwargs):
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        stored = {tensor.name for tensor in model.graph.initializer}
        names = [value.name for value in model.graph.input if value.name not in stored]
        for name, array in list(zip(names, inputs, strict=False))[1:]:
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
        network = import_model(model, kernels="numpy")
        return [outputs(network, inputs[0])]


class Glassbox(Backend):
    """What ONNX asks of a program that runs its models."""

    @classmethod
    def prepare(cls, model, device="CPU", **kwargs):
        super().prepare(model, device, **kwargs)
        return Network(model)


def outputs(network, x):
    """What the network makes of x; images in single precision go the way of every user."""
    images = x.reshape(len(x), *network.input_shape)  # a Reshape at the input is the caller's
    if network.scaling is not None:
        images = network.scaling.apply(images, images.dtype)
    if images.ndim == 4 and images.dtype == np.float32:
        return network.scores(images)
    y, _ = forward(network.layers, to_batch_last(images), Context())
    return to_batch_first(
        y if network.output_activation is None else network.output_activation.apply(y)
    )


def collect():
    """Every official test of our operators, {name: test}."""
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tests of other operators divide by zero on purpose
        for case in [case for kind in KINDS for case in load_model_tests(kind=kind)]:
            model = case.model or onnx.load(os.path.join(case.model_dir, "model.onnx"))
            operators = {node.op_type for node in model.graph.node} - {"Constant"}
            if operators and operators <= OPERATORS:
                assert case.name not in found
                found[case.name] = case
    return found


def data_sets(case):
    """(model, inputs, expected outputs) of each set of numbers that a test brings."""
    if case.model is not None:
        for inputs, expected in case.data_sets:
            yield case.model, inputs, expected
        return
    folder = Path(case.model_dir)
    model = onnx.load(folder / "model.onnx")
    for numbers in sorted(folder.glob("test_data_set*")):
        yield (
            model,
            *(
                [
                    numpy_helper.to_array(onnx.load_tensor(numbers / f"{part}_{k}.pb"))
                    for k in range(len(list(numbers.glob(f"{part}_*.pb"))))
                ]
                for part in ("input", "output")
            ),
        )


def check(case):
    """Run a test as ONNX's own runner does; raises what is wrong."""
    for model, inputs, expected in data_sets(case):
        found = Glassbox.prepare(model).run(inputs)
        for ours, theirs in zip(found, expected, strict=True):
            if (*ours.shape, 1, 1) == theirs.shape:  # a global pool keeps no axes of length 1
                ours = ours[..., None, None]
            assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
            np.testing.assert_allclose(ours, theirs, rtol=case.rtol, atol=case.atol)


@pytest.fixture(scope="module")
def official():
    return collect()


def reasons(name):
    return [
        reason
        for reason, patterns in EXCLUDED.items()
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    ]


def test_none_is_left_out_in_silence(official):
    """As many as there are, none excluded for two reasons, and no pattern that means nothing."""
    version = ".".join(onnx.__version__.split(".")[:2])
    if version not in COLLECTED:
        pytest.skip(f"how many tests onnx {version} brings was not counted yet")
    assert len(official) == COLLECTED[version]
    assert not [name for name in official if len(reasons(name)) > 1]
    patterns = [pattern for group in EXCLUDED.values() for pattern in group]
    assert not [pattern for pattern in patterns if not fnmatch.filter(official, pattern)]


def test_every_official_test_passes_or_is_refused_for_its_reason(official, trust):
    passed, excluded, wrong = 0, Counter(), []
    for name, case in official.items():
        said = ""
        try:
            check(case)
        except ValueError as error:
            said = str(error)
        except AssertionError as error:
            said = f"other numbers: {error}"
        reason = next(iter(reasons(name)), "")
        if not said and not reason:
            passed += 1
        elif reason and re.search(reason, said):
            excluded[reason] += 1
        else:
            wrong.append(f"{name}: {said or 'passes, though it is excluded'}")
    assert not wrong, "\n".join(wrong)
    assert passed + excluded.total() == len(official)
    trust.record(
        "onnx_backend", passed=passed, excluded=excluded.total(), collected=len(official),
        reasons=dict(excluded), version=onnx.__version__,
    )  # fmt: skip


def test_a_wrong_number_would_be_seen(official):
    """The check is as strict as ONNX's own: one output a thousandth off fails."""
    case = official["test_relu"]
    ((inputs, expected),) = case.data_sets
    case.data_sets = [(inputs, [expected[0] + np.float32(1e-3)])]
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check(case)
    case.data_sets = [(inputs, expected)]
