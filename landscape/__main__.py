"""`python -m landscape` is the command `landscape`."""

from landscape_cli.entry import main

main()
