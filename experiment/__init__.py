"""An experiment from the command line: arguments in, a trained network and a results folder out."""

from experiment.arguments import Options
from experiment.run import start

__all__ = ["Options", "start"]
