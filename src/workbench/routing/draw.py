"""A choice drawn at random that can be drawn again: it follows from a text and the probabilities alone."""

import hashlib

import numpy as np

from workbench.routing.forecast import Floats


def drawn(key: str, chances: Floats) -> int:
    """The position of one of `chances` [C], each with its probability; never one of 0."""
    digest = hashlib.blake2b(key.encode(errors="surrogatepass"), digest_size=8).digest()
    uniform = (int.from_bytes(digest, "big") >> 11) / 2.0**53
    totals = np.cumsum(chances)
    return int(np.searchsorted(totals, uniform * totals[-1], side="right"))
