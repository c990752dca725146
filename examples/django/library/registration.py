# SPDX-License-Identifier: Apache-2.0
"""A button that registers a member for an event, or takes the registration
back, is clicked twice."""

from sqloom.django import require_lock

from .models import Registration


def toggle_broken(member, event):
    """BROKEN: both clicks look before either has written, and both insert."""
    found = Registration.objects.filter(member_id=member, event_id=event)
    if found.exists():
        found.delete()
        return "unregistered"
    Registration.objects.create(member_id=member, event_id=event)
    return "registered"


@require_lock(Registration, "SHARE ROW EXCLUSIVE")
def toggle(member, event):
    """Fixed: the second click waits until the first one is done. There is no
    row yet that could be locked, so the table is."""
    return toggle_broken(member, event)
