"""Who may have how many deliveries under way: receivers that hang must leave room for all others."""

from collections import Counter

from shared.record.deliveries import Closed, Delivery, Standing

MAX_AT_ONCE = 64
"""How many deliveries are under way at once."""

MAX_TO_A_RECEIVER = 8
"""How many of them to one host, on all its ports, whose last try was over soon; to any other host there is
one."""

MAX_TO_ALL = {Standing.NEW: 32, Standing.SLOW: 16}
"""How many of them to all hosts that were not tried of late, and to all whose last try took long. The rest is
for those known to be quick."""

MAX_OF_A_KEY = 32
"""How many of them for the jobs of one API key; without API keys it does not count."""


class Slots:
    """Counts the deliveries under way in this process."""

    def __init__(self) -> None:
        self._receivers: Counter[str] = Counter()
        self._key_names: Counter[str] = Counter()
        self._standings: Counter[Standing] = Counter()

    def take(self, delivery: Delivery) -> None:
        """Count a delivery that begins."""
        self._receivers[delivery.new_job.receiver] += 1
        self._key_names[delivery.new_job.key_name] += 1
        self._standings[delivery.standing] += 1

    def free(self, delivery: Delivery) -> None:
        """Count it no longer."""
        self._receivers -= Counter([delivery.new_job.receiver])
        self._key_names -= Counter([delivery.new_job.key_name])
        self._standings -= Counter([delivery.standing])

    def find_closed(self) -> Closed:
        """For what there is no room now."""
        return Closed(
            receivers=tuple(name for name, tries in self._receivers.items() if tries >= MAX_TO_A_RECEIVER),
            unless_quick=tuple(self._receivers),
            key_names=tuple(
                name for name, tries in self._key_names.items() if name and tries >= MAX_OF_A_KEY
            ),
            standings=tuple(kind for kind, most in MAX_TO_ALL.items() if self._standings[kind] >= most),
        )
