"""Draw the README's picture: what main.py's network makes of one digit after training.

    python docs/draw_readme.py

Trains main.py's network for two epochs on MNIST and writes docs/preview.png.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

if __name__ == "__main__":
    from Datasets import MNIST
    from glassbox.cli import Options
    from main import network

    data, model = MNIST(), network(Options(learning_rate=0.004))
    model.fit(data.train, data.validation, epochs=2, batch_size=32)
    words = "After two epochs: what each layer makes of a digit it has never seen"
    digit, truth = data.test.subset([4]), int(data.test.labels[4])
    model.preview(digit, Path(__file__).parent / "preview.png", truth, words)
