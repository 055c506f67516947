"""Where things lie, and how they become current.

Belongs here: paths, manifests, staging of parts, Parquet writing. Does not: what is in a table.
"""

from nemo_assets.storage.layout import CENSUS, Stage
from nemo_assets.storage.manifest import Basis, Manifest, Part
from nemo_assets.storage.staging import Staging, Unit
from nemo_assets.storage.store import Store, Version

__all__ = ["CENSUS", "Basis", "Manifest", "Part", "Stage", "Staging", "Store", "Unit", "Version"]
