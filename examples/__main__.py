"""All published systems and records, one after the other; what is done already is left alone.

python -m examples            # some hours; may be stopped and started again
python -m examples --quick    # a few minutes, on small digits, nothing kept
"""

import sys

from examples import (
    a_lab,
    b_keras_pipeline,
    c_resnet,
    c_two_convolutions,
    d_batch_of_one,
    e_fashion_cnn,
    e_mlps,
    record_best,
    record_fast,
    record_small,
)

if __name__ == "__main__":
    for example in (
        a_lab, b_keras_pipeline, c_two_convolutions, c_resnet, d_batch_of_one, e_mlps,
        e_fashion_cnn, record_fast, record_small, record_best,
    ):  # fmt: skip
        example.main(sys.argv[1:])
