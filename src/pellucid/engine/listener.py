"""How long work tells whoever waits for it how far it is, and asks whether it should stop."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Listener(Protocol):
    """What anyone who wants to hear of progress has: a bar in a terminal, a page, a test."""

    def started(self, what: str, total: int) -> None:
        """Work named ``what`` begins; it will take ``total`` steps."""
        ...

    def advanced(self, steps: int = 1) -> None:
        """So many further steps are done."""
        ...

    def finished(self) -> None:
        """The work is over, well or badly."""
        ...

    def cancelled(self) -> bool:
        """Whether the work should stop; it is asked between steps and then raises ``Cancelled``."""
        ...


class Silent:
    """The listener of those who do not listen."""

    def started(self, what: str, total: int) -> None:
        pass

    def advanced(self, steps: int = 1) -> None:
        pass

    def finished(self) -> None:
        pass

    def cancelled(self) -> bool:
        return False
