"""Who duplicates whom, and which row stays.

Belongs here: what is compared, how candidates are found and verified, the choice of the survivor. Does not: files and
manifests (`stages`), what a row is (`records`).
"""

from nemo_assets.dedup.exact import CODE_EXACT, RULE_EXACT, exact_duplicates
from nemo_assets.dedup.identifiers import ids_made_unique
from nemo_assets.dedup.signatures import SIGNATURE_SCHEMA, signatures_of
from nemo_assets.dedup.survivor import SURVIVOR_ORDER, in_survivor_order

__all__ = [
    "CODE_EXACT",
    "RULE_EXACT",
    "SIGNATURE_SCHEMA",
    "SURVIVOR_ORDER",
    "exact_duplicates",
    "ids_made_unique",
    "in_survivor_order",
    "signatures_of",
]
