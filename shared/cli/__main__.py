"""`python -m shared.cli`: the command `snapkeep` where its script is not installed."""

from shared.cli import main

main(prog_name="snapkeep")
