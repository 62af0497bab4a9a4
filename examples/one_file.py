"""A convolutional network, its training and its test in one file of plain NumPy.

    python -m examples.one_file                     # scikit-learn's digits, some seconds
    python -m examples.one_file --dataset mnist     # a few minutes

All that happens between a pixel and a changed weight, slower than the library and as main.py has
it: first weights, order of the images, learning rates, best epoch.  So both end with the same
weights, up to rounding.

A layer has forward(x) -> y, cache and backward(dy, cache) -> dx, gradients; dy is the gradient of
the loss with respect to y, and so on.  In shapes: C channels, H x W pixels, H' x W' of the output,
N samples (the last axis), O filters, K x K kernel, S x S window, F features, U units.
"""

import argparse
import math
import time

import numpy as np


def taps(x, size, stride):
    """Yield for each place of a size x size window its pixel in all windows: (C, H', W', N)."""
    height, width = ((length - size) // stride + 1 for length in x.shape[1:3])  # H', W'
    for a in range(size):
        for b in range(size):  # a view of x: x[c, i stride + a, j stride + b]
            yield x[:, a : a + height * stride : stride, b : b + width * stride : stride]


class Conv2D:
    """Slide filters over the images, then apply leaky ReLU: f(z) = z where z > 0, else 0.01 z.

    y[o, i, j] = f(bias[o] + sum over c, a, b of weight[o, c, a, b] x[c, i + a - p, j + b - p])
    Padding "same" puts p zeros before and q behind the image, p + q = K - 1: H' = H.  0 puts none.
    """

    def __init__(self, filters, kernel_size=3, padding="same"):
        self.filters, self.kernel_size = filters, kernel_size
        self.border = {"same": ((kernel_size - 1) // 2, kernel_size // 2), 0: (0, 0)}[padding]

    def build(self, shape, rng, dtype):
        """Draw the first weights for images of this shape; return the shape of the output."""
        (channels, height, width), k, zeros = shape, self.kernel_size, sum(self.border)
        std = math.sqrt(2 / (1 + 0.01**2) / (channels * k * k))  # He et al. 2015
        weight = rng.normal(0.0, std, (self.filters, channels, k, k)).astype(dtype)
        self.parameters = {"weight": weight, "bias": np.zeros(self.filters, dtype)}
        return self.filters, height + zeros - k + 1, width + zeros - k + 1

    def forward(self, x):
        """y = f(weight columns + bias); a column lists the pixels that one output looks at."""
        padded = np.pad(x, ((0, 0), self.border, self.border, (0, 0)))  # (C, H+p+q, W+p+q, N)
        weight = self.parameters["weight"].reshape(self.filters, -1)  # (O, CKK)
        pixels = np.stack(list(taps(padded, self.kernel_size, 1)), axis=1)  # (C, KK, H', W', N)
        columns = pixels.reshape(weight.shape[1], -1)  # (CKK, H'W'N)
        z = weight @ columns + self.parameters["bias"][:, None]  # (O, H'W'N)
        y = np.where(z > 0, z, 0.01 * z).reshape(-1, *pixels.shape[2:])  # (O, H', W', N)
        return y, (columns, y, padded.shape)

    def backward(self, dy, cache):
        """dz = dy f'(z), dweight = dz columns^T, dbias = sum of dz, dcolumns = weight^T dz."""
        columns, y, padded_shape = cache
        weight, places = self.parameters["weight"], dy.shape[1:]  # (O, C, K, K); H', W', N
        dz = np.where(y > 0, dy, 0.01 * dy).reshape(self.filters, -1)  # (O, H'W'N)
        dweight = (dz @ columns.T).reshape(weight.shape)  # (O, C, K, K)
        dbias = dz.sum(axis=1)  # (O,)
        dcolumns = weight.reshape(self.filters, -1).T @ dz  # (CKK, H'W'N)
        dcolumns = dcolumns.reshape(weight.shape[1], -1, *places)  # (C, KK, H', W', N)
        dx = np.zeros(padded_shape, dy.dtype)  # (C, H+p+q, W+p+q, N)
        for tap, pixels in enumerate(taps(dx, self.kernel_size, 1)):
            pixels += dcolumns[:, tap]  # a pixel adds up what all outputs that saw it hand back
        (p, q), (_, height, width, _) = self.border, padded_shape
        return dx[:, p : height - q, p : width - q], {"weight": dweight, "bias": dbias}


class MaxPool2D:
    """Keep the largest pixel of each window: y[c, i, j] = max over a, b of x[c, iS + a, jS + b]."""

    def __init__(self, size=2):
        self.size, self.parameters = size, {}

    def build(self, shape, rng, dtype):
        return shape[0], shape[1] // self.size, shape[2] // self.size  # what fills no window: out

    def forward(self, x):
        """y = the largest pixel of each window; the cache says which one it was."""
        pixels = np.stack(list(taps(x, self.size, self.size)))  # (SS, C, H', W', N)
        winner = pixels.argmax(axis=0)  # (C, H', W', N); the first of equals
        return pixels.max(axis=0), (winner, x.shape)

    def backward(self, dy, cache):
        """dx = dy for the pixel that won its window, 0 for the others."""
        winner, shape = cache
        dx = np.zeros(shape, dy.dtype)  # (C, H, W, N)
        for tap, pixels in enumerate(taps(dx, self.size, self.size)):
            pixels[...] = dy * (winner == tap)  # (C, H', W', N)
        return dx, {}


class Dense:
    """Connect every feature with every unit: y = f(weight x + bias), f a sigmoid or nothing."""

    def __init__(self, units, activation="sigmoid"):
        self.units, self.squashes = units, {"sigmoid": True, None: False}[activation]

    def build(self, shape, rng, dtype):
        """Draw the first weights for an input of this shape; return the shape of the output."""
        features = math.prod(shape)
        std = math.sqrt(2 / (features + self.units))  # Glorot and Bengio 2010
        weight = rng.normal(0.0, std, (self.units, features)).astype(dtype)
        self.parameters = {"weight": weight, "bias": np.zeros(self.units, dtype)}
        return (self.units,)

    def forward(self, x):
        """y = f(weight x + bias)."""
        rows = x.reshape(-1, x.shape[-1])  # (F, N); a pixel is a feature: channel, row, column
        z = self.parameters["weight"] @ rows + self.parameters["bias"][:, None]  # (U, N)
        y = np.exp(np.minimum(z, 0)) / (1 + np.exp(-abs(z))) if self.squashes else z  # (U, N)
        return y, (rows, y, x.shape)

    def backward(self, dy, cache):
        """dz = dy f'(z), dweight = dz x^T, dbias = sum of dz, dx = weight^T dz."""
        rows, y, shape = cache
        dz = dy * y * (1 - y) if self.squashes else dy  # (U, N)
        dweight = dz @ rows.T  # (U, F)
        dbias = dz.sum(axis=1)  # (U,)
        dx = (self.parameters["weight"].T @ dz).reshape(shape)  # (F, N) or (C, H, W, N)
        return dx, {"weight": dweight, "bias": dbias}


def mean_squared_error(y, labels):
    """Return the loss of each sample, mean of (y - t)^2, and dy = 2 (y - t) / (U N)."""
    error = y - np.eye(len(y), dtype=y.dtype)[:, labels]  # (U, N); t: 1 at the label, else 0
    return (error**2).mean(axis=0), 2 * error / error.size


def softmax_cross_entropy(z, labels):
    """Return the loss of each sample, -log p[label] with p = softmax(z), and dz = (p - t) / N."""
    z = z - z.max(axis=0)  # p stays the same, and exp cannot overflow
    log_p = z - np.log(np.exp(z).sum(axis=0))  # (U, N)
    t = np.eye(len(z), dtype=z.dtype)[:, labels]  # (U, N)
    return -(t * log_p).sum(axis=0), (np.exp(log_p) - t) / len(labels)


class SGD:
    """Move every parameter down its gradient: w -= rate g."""

    def step(self, parameters, gradients, rate):
        for w, g in zip(parameters, gradients, strict=True):
            w -= rate * g


class Adam:
    """Move by running means m of g and v of g^2: w -= rate m' / (sqrt(v') + epsilon).

    m' = m / (1 - beta1^t) and v' = v / (1 - beta2^t) at step t undo the start from zero.
    """

    def __init__(self):
        self.t, self.m, self.v = 0, {}, {}

    def step(self, parameters, gradients, rate, beta1=0.9, beta2=0.999, epsilon=1e-8):
        self.t += 1
        for k, (w, g) in enumerate(zip(parameters, gradients, strict=True)):
            self.m[k] = beta1 * self.m.get(k, 0) + (1 - beta1) * g
            self.v[k] = beta2 * self.v.get(k, 0) + (1 - beta2) * g**2
            m, v = self.m[k] / (1 - beta1**self.t), self.v[k] / (1 - beta2**self.t)
            w -= rate * m / (np.sqrt(v) + epsilon)


def one_cycle(rate, share):
    """Return the rate at this share of the run: rate/25, up to rate at 0.3, down to rate/10,000."""
    up, down = (rate / 25, rate, share / 0.3), (rate, rate / 1e4, (share - 0.3) / 0.7)
    start, stop, along = up if share < 0.3 else down
    return stop + (start - stop) * (1 + math.cos(math.pi * along)) / 2  # half a cosine


class Network:
    """Chain layers, with a loss and an optimizer, for images of one shape (C, H, W)."""

    def __init__(self, layers, shape, loss, optimizer, seed=0, dtype=np.float32):
        self.layers, self.loss, self.optimizer = layers, loss, optimizer
        self.seed, self.dtype = seed, dtype
        for number, layer in enumerate(layers):
            shape = layer.build(shape, np.random.default_rng([seed, number]), dtype)
        self.parameters = [w for layer in layers for w in layer.parameters.values()]

    def forward(self, images):
        """Return the outputs (U, N) for images (N, C, H, W), and the cache of each layer."""
        x, caches = np.moveaxis(images, 0, -1).astype(self.dtype, order="C"), []  # (C, H, W, N)
        for layer in self.layers:
            x, cache = layer.forward(x)
            caches.append(cache)
        return x, caches

    def backward(self, dy, caches):
        """Return the gradient of every parameter from that of the outputs, last layer first."""
        gradients = []
        for layer, cache in zip(reversed(self.layers), reversed(caches), strict=True):
            dy, own = layer.backward(dy, cache)
            gradients = [*own.values(), *gradients]
        return gradients

    def train_step(self, images, labels, rate):
        """Move the weights once; return the sum of the losses and the number right before it."""
        outputs, caches = self.forward(images)
        losses, dy = self.loss(outputs, labels)
        self.optimizer.step(self.parameters, self.backward(dy, caches), rate)
        return losses.sum(), (outputs.argmax(axis=0) == labels).sum()

    def evaluate(self, images, labels):
        """Return the mean loss and the share of right answers."""
        parts = [images[start : start + 500] for start in range(0, len(images), 500)]
        outputs = np.concatenate([self.forward(part)[0] for part in parts], axis=1)  # (U, N)
        return self.loss(outputs, labels)[0].mean(), (outputs.argmax(axis=0) == labels).mean()


def fit(network, train, validation, epochs, batch_size=32, rate=0.004, quiet=False):
    """Train on shuffled mini-batches, then go back to the epoch that did best on validation."""
    (images, labels), count, step, best = train, len(train[1]), 0, (-1.0, 0.0)
    steps = epochs * math.ceil(count / batch_size)
    for epoch in range(epochs):
        loss, right = 0.0, 0
        order = np.random.default_rng([network.seed, epoch, count]).permutation(count)
        for start in range(0, count, batch_size):
            chosen = order[start : start + batch_size]
            rate_now = one_cycle(rate, step / max(steps - 1, 1))
            step_loss, step_right = network.train_step(images[chosen], labels[chosen], rate_now)
            loss, right, step = loss + step_loss, right + step_right, step + 1
        validation_loss, accuracy = network.evaluate(*validation)
        if (accuracy, -validation_loss) > best:
            best, kept = (accuracy, -validation_loss), [w.copy() for w in network.parameters]
        if not quiet:
            line = f"epoch {epoch + 1:>2}/{epochs}  loss {loss / count:.4f}"
            print(f"{line}  train {right / count:.2%}  validation {accuracy:.2%}")
    for w, value in zip(network.parameters, kept, strict=True):
        w[...] = value


def sanity_check(network, train):
    """Overfit the first 30 images: a network without a mistake learns them by heart."""
    few = (train[0][:30], train[1][:30])
    first, _ = network.evaluate(*few)
    fit(network, few, few, epochs=60, batch_size=3, quiet=True)
    last, accuracy = network.evaluate(*few)
    print(f"sanity check: loss {first:.4f} -> {last:.4f}, {accuracy:.0%} right")
    if not (accuracy == 1 and last < 0.05 * first):
        raise SystemExit("The network cannot learn 30 images: it has a mistake.")


def network_of_main(shape, classes=10, seed=0, dtype=np.float32):
    """Return the network of main.py, for images of this shape (C, H, W)."""
    # of MNIST: 1 x 28 x 28 -> 8 x 28 x 28 -> 8 x 14 x 14 -> 16 x 14 x 14 -> 16 x 7 x 7 -> 72 -> 10
    layers = [Conv2D(8), MaxPool2D(2), Conv2D(16), MaxPool2D(2), Dense(72), Dense(classes)]
    return Network(layers, shape, mean_squared_error, Adam(), seed, dtype)


def main(arguments=None):
    """Check, train and test the network of main.py."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--dataset", default="digits", help="digits, mnist or fashion-mnist")
    parser.add_argument("--epochs", type=int, help="default: 6, more for small data sets")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)

    from Datasets import load  # all that is the library's; any arrays will do

    data, begun = load(options.dataset), time.perf_counter()
    parts = data.train, data.validation, data.test
    train, validation, test = [part.batch(range(len(part))) for part in parts]  # images, labels
    sanity_check(network_of_main(data.shape, len(data.classes), options.seed), train)
    network = network_of_main(data.shape, len(data.classes), options.seed)
    fit(network, train, validation, options.epochs or max(6, math.ceil(40_000 / len(train[1]))))
    loss, accuracy = network.evaluate(*test)
    print(f"test accuracy {accuracy:.2%}, loss {loss:.4f}, {time.perf_counter() - begun:.1f} s")


if __name__ == "__main__":
    main()
