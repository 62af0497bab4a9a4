"""The version, in the one place where it is set."""

__version__ = "0.2.0.dev0"
