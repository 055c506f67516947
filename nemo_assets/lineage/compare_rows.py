"""Two records side by side: their verdicts, how similar they are, which fields and which words differ.

Belongs here: the comparison as a value. Does not: aligning words (`word_diff`), one record (`passport`), how it looks.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from nemo_assets.catalog import Catalog
from nemo_assets.dedup.compared import texts_of
from nemo_assets.dedup.verification import similarity
from nemo_assets.lineage.passport import Passport, explain
from nemo_assets.lineage.word_diff import WordDiff, word_diff
from nemo_assets.settings import DEFAULT_ENDPOINT
from nemo_assets.storage import Store

# They differ between any two records, or stand elsewhere in the comparison.
_NOT_COMPARED = frozenset({"text", "record_uid", "source_row", "source_offset", "source_meta_json", "meta_eval_json"})


@dataclass(frozen=True)
class RowComparison:
    """similarity: exact Jaccard similarity of what deduplication compares, `spoken_similarity` of what the assistant
    says alone, both None unless both records became rows; fields: column → (value of a, value of b) where they differ;
    diff: of the rendered texts, or of the originals (`of` says which), None where one of them is gone.
    """

    a: Passport
    b: Passport
    similarity: float | None
    spoken_similarity: float | None
    fields: dict[str, tuple[Any, Any]]
    of: str
    diff: WordDiff | None

    def as_json(self) -> dict[str, Any]:
        """Plain values that the standard `json` writes."""
        sides = {side: _named(passport) for side, passport in (("a", self.a), ("b", self.b))}
        fields = {name: list(values) for name, values in self.fields.items()}
        diff = asdict(self.diff) if self.diff else None
        measured = {"similarity": self.similarity, "spoken_similarity": self.spoken_similarity}
        return sides | measured | {"fields": fields, "of": self.of, "diff": diff}


def compare_rows(a: str, b: str, catalog: Catalog, store: Store, endpoint: str = DEFAULT_ENDPOINT) -> RowComparison:
    """Compare the records that two references name, as `explain` reads references.

    Raises AmbiguousReferenceError and UserError as `explain` does.
    """
    left, right = (explain(reference, catalog, store, endpoint) for reference in (a, b))
    measured = _similarity(left, right)
    of, texts = _texts(left, right)
    diff = word_diff(*texts) if texts else None
    return RowComparison(left, right, *measured, _differing(left, right), of, diff)


def _similarity(a: Passport, b: Passport) -> tuple[float | None, float | None]:
    if a.row is None or b.row is None:
        return None, None
    texts = texts_of(pa.array([a.row["text"], b.row["text"]], pa.string()))
    measured = similarity(texts, np.zeros(1, np.int64), np.ones(1, np.int64))
    return float(measured.jaccard[0]), float(measured.spoken[0])


def _differing(a: Passport, b: Passport) -> dict[str, tuple[Any, Any]]:
    if a.row is None or b.row is None:
        return {}
    names = [name for name in a.row if name in b.row and name not in _NOT_COMPARED]
    return {name: (a.row[name], b.row[name]) for name in names if a.row[name] != b.row[name]}


def _texts(a: Passport, b: Passport) -> tuple[str, tuple[str, str] | None]:
    """What is compared word by word, and its two texts."""
    if a.row is not None and b.row is not None:
        return "rendered text", (a.row["text"], b.row["text"])
    if a.original is None or b.original is None:
        return "original record", None
    return "original record", (a.original.data.decode(errors="replace"), b.original.data.decode(errors="replace"))


def _named(passport: Passport) -> dict[str, Any]:
    entry = passport.entry
    return {"record_uid": entry.record_uid, "id": entry.id, "place": entry.place, "verdict": passport.verdict}
