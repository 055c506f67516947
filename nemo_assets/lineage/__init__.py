"""Where a row came from, what became of a record, and looking into the stages.

Belongs here: finding a record by any of its names, assembling its passport, showing it as text, samples and SQL over
stages. Does not: making stages (`stages`), pages (`web`), options of the command line.
"""

from nemo_assets.lineage.browse import query, sample
from nemo_assets.lineage.decisions import Decision
from nemo_assets.lineage.entries import Entry
from nemo_assets.lineage.originals import Original
from nemo_assets.lineage.passport import Passport, explain
from nemo_assets.lineage.references import AmbiguousReferenceError
from nemo_assets.lineage.render import original_bytes, passport_text

__all__ = [
    "AmbiguousReferenceError",
    "Decision",
    "Entry",
    "Original",
    "Passport",
    "explain",
    "original_bytes",
    "passport_text",
    "query",
    "sample",
]
