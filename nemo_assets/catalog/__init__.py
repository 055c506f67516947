"""What the project works on: sources and their splits, pools, checkpoints, evaluation sets.

Belongs here: the YAML files, their types, the loader, what can be checked without data. Does not: reading data,
settings.
A new source with an existing adapter is one YAML file in this directory.
"""

from nemo_assets.catalog.entries import (
    Catalog,
    Checkpoint,
    DuplicatePolicy,
    EvaluationSet,
    Pool,
    PoolPolicy,
    SourceEntry,
    Split,
    Withdrawal,
)
from nemo_assets.catalog.loader import CATALOG_DIR, EVALUATION_SETS, load_catalog
from nemo_assets.catalog.subset_policy import SubsetPolicy, load_subset_policy, policy_digest

__all__ = [
    "CATALOG_DIR", "EVALUATION_SETS", "Catalog", "Checkpoint", "DuplicatePolicy", "EvaluationSet", "Pool", "PoolPolicy",
    "SourceEntry", "Split", "SubsetPolicy", "Withdrawal", "load_catalog", "load_subset_policy", "policy_digest",
]  # fmt: skip
