"""`python -m segzoo` and the `segzoo` command."""

from segzoo.cli import main

if __name__ == "__main__":
    main()
