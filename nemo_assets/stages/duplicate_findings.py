"""What a person should look at in the duplicates of a scope before going on.

Belongs here: the guards, held against what `duplicates` measured. Does not: what is too much (`dedup.guards`), telling
it (checks and the command line).
"""

from __future__ import annotations

from nemo_assets.catalog import DuplicatePolicy
from nemo_assets.dedup.guards import Finding, Removals, full_buckets, high_removals, large_groups, unsure_rows
from nemo_assets.storage import Manifest


def removals_of(duplicates: Manifest) -> list[Removals]:
    """Rows and removed ones of each split."""
    return [Removals(key, split["rows"], split["removed"]) for key, split in duplicates.details["splits"].items()]


def removal_findings(duplicates: Manifest, policy: DuplicatePolicy) -> list[Finding]:
    """Sources of which too large a share was removed."""
    return list(high_removals(removals_of(duplicates), policy.removal_ceiling, policy.removal_ceilings))


def survivor_findings(duplicates: Manifest, policy: DuplicatePolicy) -> list[Finding]:
    """A survivor that stands for too many rows."""
    group = duplicates.details["largest_group"]
    return list(large_groups(group["survivor"], group["rows"], policy.survivor_ceiling))


def candidate_findings(duplicates: Manifest) -> list[Finding]:
    """Buckets with more rows than their cap, and rows with more candidates than were compared."""
    scope, counters = duplicates.partition, duplicates.counters
    return [
        *full_buckets(scope, counters["buckets_over_cap"], duplicates.details["search"]["bucket_cap"]),
        *unsure_rows(scope, counters["rows_unsure"]),
    ]


def findings_of(duplicates: Manifest, policy: DuplicatePolicy) -> list[Finding]:
    """All of them."""
    return [
        *removal_findings(duplicates, policy),
        *survivor_findings(duplicates, policy),
        *candidate_findings(duplicates),
    ]
