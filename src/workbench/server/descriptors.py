"""Descriptors of a server's process: each request takes one for its caller and one for its provider."""

import math
import sys

from workbench.client.limits import most_descriptors

if sys.platform != "win32":
    import resource


def raise_limit() -> None:
    """Let this process open as many as it may have: shells grant fewer than a thousand streams take."""
    if sys.platform != "win32":
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def share_of_descriptors() -> float:
    """How many callers there may be, and how many calls of providers; infinity: any number."""
    most = most_descriptors()
    return max(1, most // 2) if most < math.inf else most
