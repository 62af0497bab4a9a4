"""An experiment from the command line: arguments in, a trained network and a results folder out."""

from experiment.arguments import Options
from experiment.run import report, start

__all__ = ["Options", "report", "start"]
