"""What the project works on: sources and their splits, pools, checkpoints.

Belongs here: the YAML files, their types, the loader, what can be checked without data. Does not: reading data,
settings.
A new source with an existing adapter is one YAML file in this directory.
"""

from nemo_assets.catalog.entries import Catalog, Checkpoint, Pool, PoolPolicy, SourceEntry, Split
from nemo_assets.catalog.loader import CATALOG_DIR, load_catalog

__all__ = ["CATALOG_DIR", "Catalog", "Checkpoint", "Pool", "PoolPolicy", "SourceEntry", "Split", "load_catalog"]
