"""`python -m twingateway`: the command line."""

from __future__ import annotations

from twingateway.cli.main import main

if __name__ == "__main__":
    main()
