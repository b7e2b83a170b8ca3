"""Few groups of test clips: what the note of a row says of them, and how many it names."""

from __future__ import annotations

import re

# with fewer than about thirty groups, a percentile interval contains the truth less often than its confidence says; the
# fewer groups, the worse
FEW_GROUPS = 20
# below this number an interval of a bootstrap over groups says nothing
LEAST_GROUPS = 5


def groups_note(count: int) -> str:
    """What the note of a row says of its groups of test clips; '' where there are enough of them."""
    if count == 1:
        return "one test group: no interval"
    return f"{count} test groups: intervals tend to be too narrow" if count < FEW_GROUPS else ""


def groups_of(note: str) -> int | None:
    """The number of groups that the note of a row names, the reverse of `groups_note`; None where it names none."""
    for part in note.split("; "):
        found = re.match(r"(one|\d+) test groups?: ", part)
        if found:
            return 1 if found[1] == "one" else int(found[1])
    return None
