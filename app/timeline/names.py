"""What lenses need to know of the host, at the moment that is looked at: numbers of another boot, or host, mean other things."""

from __future__ import annotations

from app.columns.lenses.show import NO_NAMES, Names
from app.maps.host_names import names
from app.timeline.kept_layout import boot_id


def names_of(boot: str) -> Names:
    """Names for entries that were read in a boot of some host; none unless it is the present one.

    Without them a time since boot reads as one ("+25 s"), a pid and an interface as numbers.
    """
    return names() if boot and boot == boot_id() else NO_NAMES
