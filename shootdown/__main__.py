"""`python -m shootdown`: the command line."""

from shootdown.cli.main import main

if __name__ == "__main__":
    main()
