"""Finding the final answer in a response that marks it."""

import re

# Possessive quantifiers (`*+`) keep the time linear in the text, whatever it is.
_MARK = re.compile(r"\banswer[\s*_`]*+:|####", re.IGNORECASE)
_BOXED = re.compile(r"\\boxed\{((?:[^{}]|\{[^{}]{0,200}\}){0,500}+)\}")


def final_answer(response: str) -> str | None:
    """What follows the last `Answer:` or `####`, to the end; else what the last `\\boxed{}` holds.

    None: nothing is marked.

    >>> final_answer("6 * 7 is 42.\\nAnswer: 42")
    ' 42'
    """
    marks = list(_MARK.finditer(response))
    if marks:
        return response[marks[-1].end() :]
    boxed = _BOXED.findall(response)
    return str(boxed[-1]) if boxed else None


def final_line(response: str) -> str | None:
    """The first line of the final answer that holds anything; None: nothing is marked.

    >>> final_line("**Answer:** 42\\nI hope this helps.")
    '** 42'
    """
    marked = final_answer(response)
    if marked is None:
        return None
    return next((line for line in marked.splitlines() if line.strip(" \t*_`")), "")
