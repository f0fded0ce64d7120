"""Swap two names of one folder in one step, where the system can (rule 16).

Linux: ``renameat2`` with RENAME_EXCHANGE; macOS: ``renamex_np`` with RENAME_SWAP.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_RENAME_SWAP = 2
_UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})


class ExchangeUnsupported(Exception):
    """This system or file system can't swap two names."""


def _find() -> Callable[[bytes, bytes], int] | None:
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        if sys.platform == "darwin":
            renamex = libc.renamex_np
            renamex.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint)
            return lambda one, other: int(renamex(one, other, _RENAME_SWAP))
        renameat2 = libc.renameat2
    except AttributeError:  # an old libc
        return None
    renameat2.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    return lambda one, other: int(renameat2(_AT_FDCWD, one, _AT_FDCWD, other, _RENAME_EXCHANGE))


_swap = _find()


def exchange(one: str, other: str) -> None:
    """Swap the files named ``one`` and ``other``; both must exist, on one file system.

    Raises ``ExchangeUnsupported``, or ``OSError`` (``FileNotFoundError`` when either is gone).
    """
    if _swap is None:
        raise ExchangeUnsupported("this system has no call for it")
    if _swap(os.fsencode(one), os.fsencode(other)) == 0:
        return
    number = ctypes.get_errno()
    if number in _UNSUPPORTED:
        raise ExchangeUnsupported(os.strerror(number))
    raise OSError(number, os.strerror(number), other)
