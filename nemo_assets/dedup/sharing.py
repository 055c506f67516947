"""Which rows share buckets, and so may be compared.

Rows share buckets by all that is compared. Where one text dominates that, such as a long template of prompts, a bucket
holds more rows than its cap; these rows share buckets by what is spoken as well, so that a flood hides no pair.

Belongs here: which rows meet under which conditions. Does not: how buckets are made (`bands`), the walk over them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nemo_assets.compiled import compiled
from nemo_assets.dedup.bands import ALONE, Banding, Buckets, buckets_of, joined, sizes_of
from nemo_assets.dedup.signing import Signed

Ranks = NDArray[np.int64]

Share = Callable[[Ranks, NDArray[np.uint64]], Buckets]
"""Buckets by all that is compared, of the rows with these ranks; `must_agree` is of all signed rows, in their order."""


def buckets_to_walk(
    signed: Signed,
    ranked: Ranks,
    guarded: NDArray[np.bool_],
    banding: Banding,
    cap: int,
    threads: int = 1,
    share: Share | None = None,
) -> Buckets:
    """Buckets of the rows `ranked`, by rank; `guarded` (rows,) tells whose numbers must agree.

    Rows with equal numbers share buckets, and those whose numbers may differ share others without regard to them.
    `share` makes the buckets elsewhere, on a cluster.
    """

    def here(minhash: NDArray[np.uint32] | NDArray[np.uint8]) -> Share:
        return lambda ranks, must_agree: buckets_of(minhash, ranked[ranks], banding, threads, must_agree)

    everybody = np.arange(len(ranked))
    buckets = _guarded(share or here(signed.minhash), signed, ranked, guarded, everybody)
    crowd = np.flatnonzero(_crowded(buckets.of_rank, sizes_of(buckets), cap))
    if len(crowd) == 0:
        return buckets
    return joined(buckets, _guarded(here(signed.spoken_minhash), signed, ranked, guarded, crowd), crowd, relieved=True)


def _guarded(share: Share, signed: Signed, ranked: Ranks, guarded: NDArray[np.bool_], ranks: Ranks) -> Buckets:
    """Buckets of these ranks, by their place in `ranks`."""
    buckets = share(ranks, signed.must_agree(True))
    free = np.flatnonzero(~guarded[ranked[ranks]])
    return joined(buckets, share(ranks[free], signed.must_agree(False)), free) if len(free) else buckets


@compiled
def _crowded(of_rank: NDArray[np.int32], sizes: NDArray[np.int64], cap: int) -> NDArray[np.bool_]:
    """(n,): whether a rank is in a bucket of more rows than the cap."""
    crowded = np.zeros(len(of_rank), np.bool_)
    for rank in range(len(of_rank)):
        for band in range(of_rank.shape[1]):
            crowded[rank] |= of_rank[rank, band] != ALONE and sizes[of_rank[rank, band]] > cap
    return crowded
