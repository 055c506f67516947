"""Which Ray cluster does what deduplication can do on several machines."""

from __future__ import annotations

from typing import NamedTuple


class RayCluster(NamedTuple):
    """`address` as Ray defines it. None is what Ray makes of it: a cluster that runs here, else this machine alone."""

    address: str | None
