"""What the UI shows of a search for duplicates: how it was made, what it found, and a sample to judge it by.

Belongs here: metadata of `duplicates` alone. Does not: metadata that other assets have too (`metadata`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from nemo_assets import plots
from nemo_assets.dedup.bands import Banding
from nemo_assets.orchestration.tables import table
from nemo_assets.settings import Settings
from nemo_assets.storage import Manifest, Stage
from nemo_assets.storage.layout import PRECISION

_RELATIONS = {
    "template_sibling": "equal but for their numbers",
    "prompt_similar": "similar, but the assistant says something else",
    "contained": "one holds nearly all of the other and more",
}

PAIRS_SHOWN = 10
"""Of the precision report, which holds all that were sampled."""

_SAMPLE_COLUMNS = ("similarity", "words_that_differ", "first", "removed", "survivor")  # JSON sorts them


def duplicate_search(manifest: Manifest, settings: Settings) -> dict[str, Any]:
    """Bands and expected recall, plots, relations that removed nothing, and the precision report."""
    if manifest.stage != Stage.DUPLICATES:
        return {}
    search, counters = manifest.details["search"], manifest.counters
    banding, threshold = Banding(search["bands"], search["rows_per_band"]), search["threshold"]
    relations = [
        {"relation": kind, "rows": counters["relations"].get(kind, 0), "meaning": meaning}
        for kind, meaning in _RELATIONS.items()
    ]
    histogram = plots.similarity_histogram(search["similarity_of_removed"], search["similarity_of_others"], threshold)
    (page,) = settings.store.paths(manifest, PRECISION)
    return {
        "threshold": threshold,
        "bands": f"{banding.bands} of {banding.rows} slots",
        "expected_recall": "at " + ", at ".join(plots.recall_label(banding, at) for at in plots.RECALL_AT),
        "collision_curve": _picture(plots.collision_curve(banding, threshold), "probability of being compared"),
        "similarity_histogram": _picture(histogram, "pairs by similarity"),
        "group_sizes": _picture(plots.group_size_histogram(counters["stands_for"]), "survivors by rows they stand for"),
        "relations": table(relations),
        "rules": table([{"rule": rule, "rows": rows} for rule, rows in counters["rules"].items()] or [_NOTHING]),
        "rows_with_the_same_prompt": table(
            [{"rows": _class(edge), "prompts": count} for edge, count in counters["prompts"].items()] or [_NOTHING]
        ),
        "precision_report": dg.MetadataValue.path(page),
        **_least_similar(manifest.details["precision"]),
    }


def _least_similar(sampled: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The pairs of the report that a person should look at first."""
    lines = [{name: line[name] for name in _SAMPLE_COLUMNS} for line in sampled[:PAIRS_SHOWN]]
    return {"least_similar_removed": table(lines)} if lines else {}


_NOTHING = {"nothing": "none"}


def _class(edge: str) -> str:
    """The sizes from an edge, a power of two, to the next one."""
    low = int(edge)
    return edge if low == 1 else f"{low} to {2 * low - 1}"


def _picture(svg: bytes, meaning: str) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md(plots.as_markdown(svg, meaning))
