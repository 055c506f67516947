"""Names of the stages and of the files of a version."""

from __future__ import annotations

from enum import StrEnum


class Stage(StrEnum):
    """The stages that keep data, in the order of the chain; the value is the directory name and the asset name."""

    RAW = "raw"
    EVALUATION_SETS = "evaluation_sets"
    NORMALIZED = "normalized"
    SIGNATURES = "signatures"
    DUPLICATES = "duplicates"
    DEDUPED = "deduped"
    LEDGER = "ledger"
    POOLS = "pools"
    LINEAGE_INDEX = "lineage_index"
    PUBLISHED = "published"
    SCORED = "scored"
    TRAITS = "traits"
    SUBSETS = "subsets"
    RESULTS = "results"
    INVENTORY = "inventory"
    METADATA_COVERAGE = "metadata_coverage"


CENSUS = "census"
"""The table of what the records of a unit of `normalized` look like, from which `inventory` is made."""

PRECISION = "precision"
"""The table, of no rows but one page, in which `duplicates` shows a sample of what it removed."""

REPORT = "report"
"""The table, of no rows but one JSON file, in which `subsets` tells what the whole policy cuts."""

DESCRIPTIONS = frozenset({CENSUS, PRECISION, REPORT})
"""Tables that describe the content of a version rather than being it."""


def part_name(table: str, number: int, suffix: str = "parquet") -> str:
    """File name of one part: `part-00003.parquet` of the main table `rows`, `<table>-00003.parquet` of any other."""
    return f"{'part' if table == 'rows' else table}-{number:05d}.{suffix}"
