"""Blocks of code between fences in an answer."""

import re

_FENCE = re.compile(r"^[ \t]*(```+|~~~+)[^\n]*$", re.MULTILINE)


def last_block(response: str) -> str:
    """What stands in the last whole fenced block; without one, after an open fence; else all of it.

    >>> last_block("Here:\\n```python\\nx = 1\\n```\\nDone.")
    'x = 1\\n'
    """
    found: str | None = None
    opened: re.Match[str] | None = None
    for fence in _FENCE.finditer(response):
        if opened is None:
            opened = fence
        elif fence[1].startswith(opened[1]) and not fence[0].strip(" \t\r`~"):
            found, opened = response[opened.end() + 1 : fence.start()], None
    if found is not None:
        return found
    return response if opened is None else response[opened.end() + 1 :]
