"""`python -m frontend.cli`, by which the command line starts a server in the background."""

from frontend.cli import main

if __name__ == "__main__":
    main()
