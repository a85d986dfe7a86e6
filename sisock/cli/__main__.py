"""Run the command: ``python -m sisock.cli``."""

from sisock.cli.main import main

main()
