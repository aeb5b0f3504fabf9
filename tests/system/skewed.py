"""`actsearch` on a machine whose clock is wrong: `python skewed.py SECONDS ARGUMENTS...`."""

import sys
import time

if __name__ == "__main__":
    _, seconds, *arguments = sys.argv
    right = time.time
    time.time = lambda: right() + float(seconds)

    from service.cli import main

    sys.argv = ["actsearch", *arguments]
    main()
