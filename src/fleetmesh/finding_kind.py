"""
What a code of findings stands for.
"""

from __future__ import annotations

from typing import Literal

import attrs

Severity = Literal["info", "warning", "error"]


@attrs.frozen
class FindingKind:
    """
    What a code stands for.

    Attributes:
        code: Lower-case words joined by dashes; stable, part of the JSON interface.
        severity: `error` if traffic is lost or goes where it shouldn't, `warning` if it may after the
            next change or if input was not understood, `info` if nothing has to be done.
        meaning: What has been seen, in one sentence.
        fix: What to do about it; "" where there is nothing to do.
    """

    code: str
    severity: Severity
    meaning: str
    fix: str = ""
