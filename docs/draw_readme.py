"""Draw the README's picture: what main.py's network makes of one digit after training.

    python docs/draw_readme.py

Trains main.py's network for two epochs on MNIST and writes docs/preview.png.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))


def main() -> None:
    from Datasets import MNIST
    from glassbox.cli import Options
    from main import network

    data = MNIST()
    model = network(Options(learning_rate=0.004))
    model.fit(data.train, data.validation, epochs=2, batch_size=32)
    model.preview(
        data.test.subset([4]),
        ROOT / "docs" / "preview.png",
        int(data.test.labels[4]),
        "After two epochs: what each layer makes of a digit it has never seen",
    )


if __name__ == "__main__":
    main()
