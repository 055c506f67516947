"""Scores that were measured once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from nemo_assets.scoring import score_store
from nemo_assets.scoring.rows import MEASURED_SCHEMA
from nemo_assets.scoring.score_store import KEY, Scorer, ScoreStore

SCORER = Scorer("org/model", "a" * 40, 4096)


def measured(**nll_by_text: float | None) -> pa.Table:
    """Scores of texts, all under mask `m`."""
    given = {
        "id": [f"id-{text}" for text in nll_by_text],
        "nll_mean": list(nll_by_text.values()),
        "nll_sum": list(nll_by_text.values()),
        "text_sha1": list(nll_by_text),
        "mask_sha1": ["m"] * len(nll_by_text),
        "token_nlls": [[1.0, 2.0]] * len(nll_by_text),
    }
    kinds = {pa.string(): "x", pa.int32(): 1, pa.bool_(): False}
    for field in MEASURED_SCHEMA:
        if field.name not in given:
            given[field.name] = [None if field.nullable else kinds[field.type]] * len(nll_by_text)
    return pa.table(given, schema=MEASURED_SCHEMA)


def keys(*texts: str, mask: str = "m") -> pl.DataFrame:
    return pl.DataFrame({"text_sha1": texts, "mask_sha1": [mask] * len(texts)}, schema=dict.fromkeys(KEY, pl.String))


def nlls(store: ScoreStore, *texts: str) -> dict[str, float | None]:
    found = store.find(keys(*texts))
    return dict(zip(found["text_sha1"], found["nll_mean"], strict=True))


def test_a_score_belongs_to_text_and_mask_under_one_scorer(tmp_path: Path) -> None:
    store = ScoreStore(tmp_path, SCORER)
    assert nlls(store, "a") == {}
    store.add(measured(a=1.0, b=None))
    store.add(measured(c=3.0))
    assert nlls(store, "a", "b", "d", "a") == {"a": 1.0, "b": None}
    assert store.find(keys("a", mask="other")).is_empty()
    assert store.find(keys("a"))["token_nlls"].to_list() == [[1.0, 2.0]]
    others = [Scorer("org/other", "a" * 40, 4096), Scorer("org/model", "b" * 40, 4096)]
    others += [Scorer("org/model", "a" * 40, 4095), Scorer("org/model", "a" * 40, 4096, version="0")]
    assert [nlls(ScoreStore(tmp_path, other), "a") for other in others] == [{}] * 4
    assert nlls(ScoreStore(tmp_path, Scorer("org/model", "a" * 40, 4096)), "a") == {"a": 1.0}


def test_of_two_measurements_the_choice_does_not_depend_on_which_came_first(tmp_path: Path) -> None:
    for name, order in (("one", (1.0, 2.0)), ("two", (2.0, 1.0))):
        store = ScoreStore(tmp_path / name, SCORER)
        for nll in order:
            store.add(measured(a=nll))
        assert nlls(store, "a") == {"a": 1.0}


def test_segments_are_merged_and_nothing_is_lost_however_many_add_and_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_store, "_MOST_SEGMENTS", 4)
    store = ScoreStore(tmp_path, SCORER)

    def add(number: int) -> dict[str, float | None]:
        store.add(measured(**{f"t{number}": float(number)}))
        return nlls(store, *(f"t{each}" for each in range(number + 1)))

    with ThreadPoolExecutor(4) as pool:
        seen = list(pool.map(add, range(40)))
    assert all(f"t{number}" in found for number, found in enumerate(seen))
    assert nlls(store, *(f"t{number}" for number in range(40))) == {f"t{number}": number for number in range(40)}
    assert len(list(store.directory.glob("segments/*.parquet"))) <= 5
