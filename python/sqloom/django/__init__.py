# SPDX-License-Identifier: Apache-2.0
"""sqloom for Django: test cases with real commits, on-commit hooks, signals that
can be suspended, locks.

Importing this needs neither an entry in INSTALLED_APPS nor configured settings:
each name is loaded when it is used for the first time.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqloom.django._connections import LeftoverConnectionWarning
    from sqloom.django._connections import LeftoverTransaction
    from sqloom.django._hooks import commit_hooks
    from sqloom.django._locks import LockTimeout, require_lock
    from sqloom.django._signals import suspend_signals, suspendingreceiver
    from sqloom.django._testcases import CommittingLiveServerTestCase
    from sqloom.django._testcases import CommittingTestCase
    from sqloom.django._testcases import CommittingTestMixin
    from sqloom.django._testcases import committing

__all__ = [
    "CommittingLiveServerTestCase",
    "CommittingTestCase",
    "CommittingTestMixin",
    "LeftoverConnectionWarning",
    "LeftoverTransaction",
    "LockTimeout",
    "commit_hooks",
    "committing",
    "require_lock",
    "suspend_signals",
    "suspendingreceiver",
]

# Where each name comes from; one in a line: several people add theirs.
_PLACES = {
    "CommittingLiveServerTestCase": "_testcases",
    "CommittingTestCase": "_testcases",
    "CommittingTestMixin": "_testcases",
    "LeftoverConnectionWarning": "_connections",
    "LeftoverTransaction": "_connections",
    "LockTimeout": "_locks",
    "commit_hooks": "_hooks",
    "committing": "_testcases",
    "require_lock": "_locks",
    "suspend_signals": "_signals",
    "suspendingreceiver": "_signals",
}


def __getattr__(name: str) -> Any:
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{place}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
