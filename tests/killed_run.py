"""A training run for test_resume.py to kill:  python killed_run.py FOLDER STEPS_BETWEEN [WHERE]

It goes on from FOLDER/checkpoint.safetensors where there is one, prints a line after each step, and
leaves FOLDER/model.safetensors when it is done.  With WHERE it kills itself while it writes its
third checkpoint: "open", "half", "flushed" or "renamed".
"""

import os
import signal
import sys
from pathlib import Path

from CNN import CNN
from Datasets import Augmentation, Digits
from Filters import Conv2D, MaxPool2D
from MLP import SGD, Adam, BatchNorm, Dense, Dropout, OneCycle

STEPS = 189  # 9 epochs of 21


def network():
    """Everything that has a state of its own: statistics, momentum, Adam, dropout, a schedule."""
    return CNN(
        Conv2D(3, bias=False), BatchNorm(), MaxPool2D(2), Dropout(0.2),
        Dense(12, optimizer=SGD(0.1, momentum=0.9)), Dense(10),
        optimizer=Adam(OneCycle(0.01)), seed=6, kernels="numpy", threads=2,
    )  # fmt: skip


def settings():
    return {
        "epochs": 9, "batch_size": 60, "ema_decay": 0.9, "patience": 8,
        "augment": Augmentation(shift=1), "progress": False,
    }  # fmt: skip


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def kill_while_writing(where):
    """Die at a certain place of the third checkpoint's writing."""
    import glassbox.atomic as atomic

    written, fsync, replace = [0], os.fsync, os.replace

    def flush(number):
        written[0] += 1
        if written[0] == 3 and where == "half":
            os.ftruncate(number, os.fstat(number).st_size // 2)
        if written[0] == 3 and where in ("half", "open"):
            die()
        fsync(number)
        if written[0] == 3 and where == "flushed":
            die()

    def rename(before, after):
        replace(before, after)
        if written[0] == 3 and where == "renamed":
            die()

    atomic.os.fsync, atomic.os.replace = flush, rename


def main(folder, every, where=None):
    if where is not None:
        kill_while_writing(where)
    step = CNN.train_step

    def announced(self, *arguments):
        result = step(self, *arguments)
        print(self.steps_done, flush=True)
        return result

    CNN.train_step = announced
    path = folder / "checkpoint.safetensors"
    data = Digits()
    model = network()
    model.fit(
        data.train, data.validation, **settings(), checkpoint=path, checkpoint_every=every,
        resume=path if path.exists() else None,
    )  # fmt: skip
    model.save(folder / "model.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
