"""`qbench` in a process of its own, redirected: `python ibm_client.py PORT ARGUMENTS`."""

from __future__ import annotations

import sys

from ibm_redirect import redirect

from qbench.cli import main

if __name__ == "__main__":
    redirect(setattr, int(sys.argv[1]))
    sys.argv = ["qbench", *sys.argv[2:]]
    main()
