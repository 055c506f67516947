"""What is too much: nothing at a ceiling, a sentence with names and figures just above it."""

from __future__ import annotations

import pytest

from nemo_assets.dedup.guards import Removals, full_buckets, high_removals, large_groups, removal_shares

SPLITS = [Removals("alpha/low", 100, 10), Removals("alpha/high", 300, 190), Removals("beta/chat", 50, 5)]


def test_shares_are_those_of_sources_not_of_splits() -> None:
    assert removal_shares(SPLITS) == {"alpha": 200 / 400, "beta": 5 / 50}
    assert removal_shares([Removals("empty/none", 0, 0)]) == {"empty": 0.0}


@pytest.mark.parametrize(
    ("ceiling", "ceilings", "high"),
    [
        (0.5, {}, []),  # alpha lies at the ceiling, although one of its splits is above it
        (0.499, {}, ["alpha"]),
        (0.0, {}, ["alpha", "beta"]),
        (0.5, {"beta": 0.099}, ["beta"]),
        (0.099, {"alpha": 0.5}, ["beta"]),
        (1.0, {"alpha": 0.0, "gamma": 0.0}, ["alpha"]),
    ],
)
def test_a_source_above_its_ceiling_is_found(ceiling: float, ceilings: dict[str, float], high: list[str]) -> None:
    assert [finding.where for finding in high_removals(SPLITS, ceiling, ceilings)] == high


def test_the_sentence_has_name_share_and_ceiling() -> None:
    (finding,) = high_removals(SPLITS, 0.9, {"alpha": 0.25})
    assert (finding.measured, finding.ceiling) == (0.5, 0.25)
    assert finding.sentence == "alpha: 50.0% of the rows were removed as duplicates, more than 25.0%."
    assert "removal_ceilings in policies/duplicates.yaml" in finding.advice


def test_a_survivor_may_stand_for_as_many_as_the_ceiling_says() -> None:
    assert not list(large_groups("r1 (alpha/low)", 1000, 1000))
    assert not list(large_groups(None, 0, 0))
    (finding,) = large_groups("r1 (alpha/low)", 1001, 1000)
    assert finding.sentence == "r1 (alpha/low) stands for 1,001 removed rows, more than 1,000."
    assert "`nemo-assets explain r1`" in finding.advice


def test_one_full_bucket_is_told() -> None:
    assert not list(full_buckets("distilled", 0, 256))
    (finding,) = full_buckets("distilled", 1, 256)
    assert (finding.where, finding.measured) == ("distilled", 1)
    assert "more than 256 rows" in finding.sentence
    assert "bucket_cap in policies/duplicates.yaml" in finding.advice
