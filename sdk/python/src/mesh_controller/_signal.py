"""An event that reads the clock."""

from __future__ import annotations

import threading
from typing import Callable


class Signal(threading.Event):
    """A `threading.Event` that looks whether it is to be set before it says that it is not.

    Threads that set events are late in a process that was stopped.
    """

    def __init__(self, look: Callable[[], object]) -> None:
        super().__init__()
        self._look = look

    def is_set(self) -> bool:
        self._look()
        return super().is_set()
