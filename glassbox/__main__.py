"""`python -m glassbox`: the `glassbox` command."""

from glassbox.cli.command import main

main()
