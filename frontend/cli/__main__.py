"""`python -m frontend.cli`, by which the command line starts a server in the background."""

from frontend.cli import main

main()
