"""Subsets from the scores of two splits to the configs of a release, under a student and a reference."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
import yaml

from nemo_assets.catalog import load_subset_policy
from nemo_assets.errors import UserError
from nemo_assets.orchestration.metadata import materialized
from nemo_assets.records.schema import ROW_SCHEMA
from nemo_assets.selection import satisfies
from nemo_assets.settings import Settings
from nemo_assets.stages.plan import standing
from nemo_assets.stages.subsets import what_if
from nemo_assets.storage import Stage
from nemo_assets.storage.layout import REPORT
from nemo_assets_tests.stages.making import catalog_with, make, rows_of

SOURCE = "nemotron-math-v2-harmony-tools"
KEYS = (f"{SOURCE}/medium", f"{SOURCE}/high_part01")  # in catalog order
NAMES = ("anchor", "restoration", "learning", "challenge", "quarantine", "all_scored")


@pytest.fixture(scope="module")
def cut(sample: Settings, tiny_student: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Both splits scored, all subsets cut, one split with its results published."""
    root = tmp_path_factory.mktemp("subsets")
    shutil.copytree(sample.data_dir, root / "data")
    hurt = shutil.copytree(tiny_student, root / "hurt")
    config = json.loads((hurt / "config.json").read_text())
    (hurt / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.5}))
    checkpoints = (
        f"checkpoints:\n  student: {{model: {hurt}, purpose: After surgery.}}\n"
        f"  reference: {{model: {tiny_student}, purpose: Before.}}\n"
    )
    catalog = catalog_with(root / "catalog", "nemotron-math-v2", SOURCE, checkpoints=checkpoints)
    with_policy(catalog, lambda policy: policy["strata"].update(columns=["split"], min_rows=5))
    with_policy(catalog, lambda policy: policy["subsets"]["restoration"].update(budget={"rows": 4}))
    settings = replace(
        sample, data_dir=root / "data", catalog_dir=catalog, max_length=2048, publish_to=str(root / "published")
    )
    for key in KEYS:
        make(Stage.DEDUPED, key, settings)
        make(Stage.LEDGER, key, settings)
        make(Stage.POOLS, key, settings)
        make(Stage.PUBLISHED, key, settings)
    for key in KEYS:
        make(Stage.SCORED, key, settings)
    for name in NAMES:
        make(Stage.SUBSETS, name, settings)
    make(Stage.RESULTS, KEYS[0], settings)
    return settings


def with_policy(catalog: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = catalog / "policies" / "subsets.yaml"
    policy = yaml.safe_load(path.read_text())
    change(policy)
    path.write_text(yaml.safe_dump(policy, sort_keys=False))


def copied(settings: Settings, directory: Path) -> Settings:
    shutil.copytree(settings.data_dir, directory / "data")
    catalog = Path(shutil.copytree(settings.catalog_dir, directory / "catalog"))
    shutil.copytree(str(settings.publish_to), directory / "published", symlinks=True)
    return replace(settings, data_dir=directory / "data", catalog_dir=catalog, publish_to=str(directory / "published"))


def test_every_subset_takes_rows_whose_reasons_hold_and_is_told_as_the_what_if_tells_it(cut: Settings) -> None:
    policy, store = cut.catalog.subset_policy, cut.store
    told = what_if(cut, policy)
    assert list(told["subsets"]) == list(NAMES)
    assert set(told["splits"]) == set(KEYS)
    for name in NAMES:
        manifest = store.current(Stage.SUBSETS, name)
        (part,) = manifest.table(REPORT)
        assert json.loads(store.path(part).read_text()) == json.loads(json.dumps(told))
        for table in ("rows", "control"):
            reasons = rows_of(manifest, store, table)["subset_reason"].to_pylist()
            assert all(satisfies(reason, policy) for reason in reasons)
        assert manifest.counters["rows"] == told["subsets"][name]["rows"] == manifest.rows()
        assert standing(Stage.SUBSETS, name, cut).currency == "current"
    rows = {name: told["subsets"][name]["rows"] for name in NAMES}
    assert rows["all_scored"] == told["scored"]["rows"]
    assert min(rows["anchor"], rows["restoration"], rows["learning"]) > 0


def test_the_manifest_names_every_scored_split_and_the_rows_are_those_of_it(cut: Settings) -> None:
    manifest = cut.store.current(Stage.SUBSETS, "restoration")
    assert set(manifest.details["splits"]) == set(KEYS)
    for key, told in manifest.details["splits"].items():
        rows = pl.read_parquet(cut.store.root / told["rows_part"])
        kept = pl.read_parquet(cut.store.paths(cut.store.current(Stage.DEDUPED, key)))
        assert rows["row"].is_sorted()
        assert rows["id"].to_list() == kept["id"].gather(rows["row"]).to_list()
        assert rows["record_uid"].to_list() == kept["record_uid"].gather(rows["row"]).to_list()
        scores = pl.read_parquet(cut.store.paths(cut.store.current(Stage.SCORED, key), "scores.student"))
        assert rows["nll_mean"].to_list() == pytest.approx(scores["nll_mean"].gather(rows["row"]).to_list())


def test_results_publish_the_rows_with_text_and_reason_beside_a_random_control(cut: Settings) -> None:
    repo = Path(cut.destination) / cut.release_repo(cut.catalog.split(KEYS[0]))
    kept = pl.read_parquet(cut.store.paths(cut.store.current(Stage.DEDUPED, KEYS[0])))
    for name in ("anchor", "restoration", "learning", "random_control_anchor", "all_scored"):
        table = pq.read_table(repo / f"subset_{name}" / "medium-00000.parquet")
        assert table.column_names[: len(ROW_SCHEMA.names)] == ROW_SCHEMA.names
        ids = table["id"].to_pylist()
        places = [kept["id"].to_list().index(row) for row in ids]
        assert places == sorted(places)
        assert table["text"].to_pylist() == kept["text"].gather(places).to_list()
        told = [json.loads(reason) for reason in table["subset_reason"].to_pylist()]
        assert [reason["stratum"] for reason in told] == table["stratum"].to_pylist()
        assert [reason["percentile"] for reason in told] == pytest.approx(table["percentile"].to_pylist())
    assert not (repo / "subset_random_control_all_scored").exists()
    card = (repo / "README.md").read_text()
    assert "config_name: subset_restoration" in card
    assert "images/subset_nll.png" in card
    assert "images/subset_scatter.png" in card


def test_the_ui_shows_what_a_subset_takes_and_draws_it(cut: Settings) -> None:
    for name in NAMES:
        manifest = cut.store.current(Stage.SUBSETS, name)
        metadata = materialized(manifest, cut).metadata
        assert {"purpose", "rule", "splits", "lineage"} <= set(metadata)
        pictures = {key for key in metadata if "data:image/svg+xml" in str(getattr(metadata[key], "value", ""))}
        expected = {"nll_by_split", "nll_by_pool", "funnel", "student_against_reference"} if manifest.rows() else set()
        assert pictures == expected
        assert ("bias" in metadata) == (name != "all_scored")


def test_a_later_row_is_placed_by_what_is_published(cut: Settings) -> None:
    """All rows of the split are placed again from config `strata` alone, to a tenth of a percent."""
    repo = Path(cut.destination) / cut.release_repo(cut.catalog.split(KEYS[0]))
    strata = pl.read_parquet(repo / "strata" / "medium-00000.parquet")
    rows = pl.read_parquet(repo / "subset_all_scored" / "medium-00000.parquet")
    scores = pl.read_parquet(repo / "scores" / "medium-00000.parquet").select("id", "completion_token_count")
    assert rows.height > 10
    for row in rows.join(scores, on="id").iter_rows(named=True):
        here = strata.filter(stratum=row["stratum"])
        knots = here.filter(kind="knot", column="nll_residual")
        expected = interpolated(row["completion_token_count"], knots["value"].to_list(), knots["below"].to_list())
        residual = log(row["nll_mean"]) - expected
        points = here.filter(kind="cut_point", column="percentile").sort("value")
        nearest = points.select((pl.col("value") - residual).abs().arg_min()).item()
        middle = (points["below"][nearest] + points["above"][nearest]) / 2
        assert middle == pytest.approx(row["percentile"], abs=0.1)


def interpolated(tokens: int, lengths: list[float], nlls: list[float]) -> float:
    """The log NLL expected at a length: straight between the knots, in logarithms of both."""
    if tokens <= lengths[0] or len(lengths) == 1:
        return log(nlls[0])
    for a, b, low, high in zip(lengths, lengths[1:], nlls, nlls[1:], strict=False):
        if tokens <= b:
            share = (log(tokens) - log(a)) / (log(b) - log(a))
            return log(low) + share * (log(high) - log(low))
    return log(nlls[-1])


def test_other_scores_or_another_policy_make_the_subsets_stale_and_results_say_so(
    cut: Settings, tmp_path: Path
) -> None:
    settings = copied(cut, tmp_path)
    make(Stage.SCORED, KEYS[1], replace(settings, max_length=300))
    stale = replace(settings, max_length=300)
    assert standing(Stage.SUBSETS, "anchor", stale).currency == "stale"
    with pytest.raises(UserError, match=f"{KEYS[1]}: subset anchor was cut from other scores"):
        make(Stage.RESULTS, KEYS[1], stale)
    catalog = Path(shutil.copytree(settings.catalog_dir, tmp_path / "edited"))
    with_policy(catalog, lambda policy: policy["subsets"]["anchor"].update(budget={"rows": 2}))
    edited = replace(settings, catalog_dir=catalog)
    assert make(Stage.SUBSETS, "anchor", edited).rows() == 2
    with pytest.raises(UserError, match="Subsets all_scored, challenge, learning, quarantine, restoration were cut by"):
        make(Stage.RESULTS, KEYS[0], edited)


def test_rows_without_a_score_are_in_no_subset(cut: Settings, tmp_path: Path) -> None:
    settings = replace(copied(cut, tmp_path), scorer_max_records=3)
    shutil.rmtree(settings.scores_dir)  # what was measured before would be taken over
    manifest = make(Stage.SCORED, KEYS[0], settings)
    assert manifest.counters["checkpoints"]["student"]["status"]["ok"] <= 3
    rows = make(Stage.SUBSETS, "all_scored", settings)
    scored = {key: settings.store.current(Stage.SCORED, key).counters["checkpoints"]["student"] for key in KEYS}
    assert rows.rows() == sum(each["status"]["ok"] for each in scored.values())


def test_an_unscored_reference_makes_its_subsets_unavailable(cut: Settings, tmp_path: Path) -> None:
    settings = copied(cut, tmp_path)
    checkpoints = Path(settings.catalog_dir) / "policies" / "checkpoints.yaml"
    told = yaml.safe_load(checkpoints.read_text())
    told["checkpoints"]["reference"]["score"] = False
    checkpoints.write_text(yaml.safe_dump(told, sort_keys=False))
    settings = replace(settings)
    for key in KEYS:
        make(Stage.SCORED, key, settings)
    report = what_if(settings, settings.catalog.subset_policy)["subsets"]
    for name in ("restoration", "challenge"):
        assert (report[name]["rows"], report[name]["unavailable"]) == (0, "reference is not scored")
        assert make(Stage.SUBSETS, name, settings).rows() == 0
    assert report["anchor"]["rows"] > 0


def test_a_withdrawn_row_leaves_every_subset(cut: Settings, tmp_path: Path) -> None:
    settings = copied(cut, tmp_path)
    before = rows_of(settings.store.current(Stage.SUBSETS, "all_scored"), settings.store)["id"].to_pylist()
    path = Path(settings.catalog_dir) / "policies" / "withdrawals.yaml"
    path.write_text(yaml.safe_dump({"withdrawals": [{"id": before[0], "reason": "takedown"}]}))
    settings = replace(settings)
    assert standing(Stage.SUBSETS, "all_scored", settings).currency == "stale"
    after = rows_of(make(Stage.SUBSETS, "all_scored", settings), settings.store)["id"].to_pylist()
    assert after == before[1:]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda p: p["subsets"]["anchor"].update(predicate="percentil <= 5"), r"'anchor'.*'percentil'.*percentile"),
        (lambda p: p["checkpoints"].update(reference="nobody"), "checkpoints.reference names 'nobody'"),
        (lambda p: p["strata"].update(columns=["colour"]), "strata.*'colour'"),
    ],
)
def test_a_wrong_policy_is_told_before_anything_is_read(
    cut: Settings, tmp_path: Path, change: Callable[[dict[str, Any]], object], told: str
) -> None:
    catalog = Path(shutil.copytree(cut.catalog_dir, tmp_path / "catalog"))
    with_policy(catalog, change)
    with pytest.raises(UserError, match=told):
        what_if(cut, load_subset_policy(catalog / "policies" / "subsets.yaml", cut.catalog.checkpoints))
