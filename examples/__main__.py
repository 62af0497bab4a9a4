"""All published systems and records, one after the other; what is done already is left alone.

python -m examples            # some hours; may be stopped and started again
python -m examples --quick    # a few minutes, on small digits, nothing kept
"""

import sys
from importlib import import_module

EXAMPLES = "a_lab b_keras_pipeline c_two_convolutions c_resnet d_batch_of_one e_mlps e_fashion_cnn"

if __name__ == "__main__":
    for name in [*EXAMPLES.split(), "records"]:
        import_module(f"examples.{name}").main(sys.argv[1:])
