"""How errors that ffmpeg concealed are told in `reason` of qc.tsv, and found there again."""

from __future__ import annotations

PHRASE = "concealed error"


def concealed_note(count: int, part: str) -> str:
    """Note on errors in a part of a clip, the picture or the sound; '' for none."""
    return f"{count} {PHRASE}{'' if count == 1 else 's'} in the {part}" if count else ""


def uncounted_note(part: str, why: str) -> str:
    """Note on errors that were reported and cannot be counted."""
    return f"{PHRASE}s in the {part} that cannot be counted ({why})"


def has_concealed(reason: str) -> bool:
    """Whether a clip's reason tells of such errors."""
    return PHRASE in reason
