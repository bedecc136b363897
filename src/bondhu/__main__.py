"""`python -m bondhu` is `bondhu`."""

from bondhu.cli import main

if __name__ == "__main__":
    main()
