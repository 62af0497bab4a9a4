"""Two checks of a network, which are methods of it: can it learn, and are its gradients right?"""

from __future__ import annotations

from typing import Any

from glassbox.data import given
from glassbox.engine import gradient_check as gradients
from glassbox.engine import sanity


def sanity_check(
    network: Any, data: Any, images: int = 30, epochs: int = 300, quiet: bool = False
) -> sanity.SanityReport:
    """Overfit a few images with an untrained copy of this network: can it learn at all?

    Trains up to `epochs` on `images` (20 to 50) spread over the classes, until the loss is near
    zero and all are right, and compares the first loss with chance.  Prints and returns the
    report.
    """
    source = given.as_dataset(data, network, fitting=True)
    return sanity.sanity_check(network, source, images, epochs, quiet)


def gradient_check(
    network: Any, data: Any, images: int = 4, quiet: bool = False
) -> gradients.GradientReport:
    """Compare the gradients of a float64 copy with central differences, layer by layer.

    Prints and returns the report, which names the parameter that is off.  `data`: a Dataset, a
    pair, or images alone.
    """
    known = given.as_dataset if isinstance(data, tuple) else given.as_images
    source = known(data, network)
    return gradients.gradient_check(network.build(source.shape), source, images, quiet)
