# SPDX-License-Identifier: Apache-2.0
"""Stops the clock where it would hide what the calls write.

A value that holds the time differs in equal runs, so its column cannot be
compared. Django signs the data of sessions, and what is in signed cookies, with
the second: then the whole column would be left out, and a key that a session
loses not be seen.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

__all__ = ["pinned_signatures"]


@contextlib.contextmanager
def pinned_signatures() -> Iterator[None]:
    """Inside of the block, all that Django signs with the time, on whatever
    thread, has the time at which the block began. It stays valid."""
    from django.core.signing import TimestampSigner

    signer: Any = TimestampSigner
    now = signer().timestamp()
    before = signer.timestamp
    signer.timestamp = lambda self: now
    try:
        yield
    finally:
        signer.timestamp = before
