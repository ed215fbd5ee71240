"""A claim together with the latest directive that the record has given for it."""

import threading

from shared.jobs import Claim, Directive

_BY_GRAVITY = (Directive.GO_ON, Directive.YIELD, Directive.CANCEL, Directive.STALE)


class ClaimState:
    """A claim and the gravest directive so far. Thread-safe: the heartbeat and the job both update it."""

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.directive = Directive.GO_ON
        self._lock = threading.Lock()

    def apply(self, directive: Directive) -> None:
        """Store `directive`, unless a graver one was applied before."""
        with self._lock:
            self.directive = max(self.directive, directive, key=_BY_GRAVITY.index)
