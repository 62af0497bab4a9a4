"""An experiment from the command line: arguments in, a trained network and a results folder out."""

from glassbox.interrupt import release  # isort: split

from glassbox.cli.arguments import Options
from glassbox.cli.run import report, start

release()

__all__ = ["Options", "report", "start"]
