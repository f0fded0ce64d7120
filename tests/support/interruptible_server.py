"""``python -m tests.support.interruptible_server``: Jupyter Server as from a shell, with SIGINT not ignored.

A program that is started in the background inherits an ignored SIGINT.
"""

from __future__ import annotations

import signal

from jupyter_server.serverapp import main

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main()
