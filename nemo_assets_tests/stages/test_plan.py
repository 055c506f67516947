"""What is current, stale or missing, and the order in which a chain is brought up to date."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from nemo_assets.chain import Step, run_chain, summarize
from nemo_assets.sample import HUB
from nemo_assets.settings import Settings
from nemo_assets.stages.plan import CHAIN, first_outdated, standing
from nemo_assets.storage import Stage
from nemo_assets_tests.stages.making import catalog_with, make, make_chain

MATH, CHAT, RENDERED = (
    "nemotron-math-v2/low",
    "nemotron-instruction-following-chat-v1/chat_if",
    "nemotron-math-v2-harmony-tools/low",
)
UP_TO_POOLS = CHAIN[: CHAIN.index(Stage.POOLS) + 1]


def currency(settings: Settings, partition: str, stages: Sequence[Stage] = UP_TO_POOLS) -> dict[str, str]:
    scope = settings.catalog.split(partition).scope
    return {
        stage: standing(stage, scope if stage is Stage.DUPLICATES else partition, settings).currency for stage in stages
    }


def test_everything_is_missing_then_current(settings: Settings) -> None:
    assert set(currency(settings, CHAT).values()) == {"missing"}
    make_chain(settings, Stage.POOLS, [CHAT])
    assert set(currency(settings, CHAT).values()) == {"current"}
    assert standing(Stage.POOLS, CHAT, settings).manifest == settings.store.current(Stage.POOLS, CHAT)
    assert standing(Stage.PUBLISHED, CHAT, settings) == ("missing", None)
    assert standing(Stage.SCORED, CHAT, settings) == ("missing", None)


def test_a_change_at_the_source_shows_at_raw_and_only_there_until_it_is_fetched(
    own_sample: Settings, tmp_path: Path
) -> None:
    shutil.copytree(HUB, tmp_path / "sources")
    settings = replace(own_sample, source_dir=tmp_path / "sources")
    with (tmp_path / "sources" / "nvidia/Nemotron-Instruction-Following-Chat-v1/data/chat_if.jsonl").open("ab") as file:
        file.write(b"\n{}\n")
    found = currency(settings, CHAT)
    assert [stage for stage in found if found[stage] == "stale"] == ["raw"]
    split = settings.catalog.split(CHAT)
    assert first_outdated(split, (Stage.RAW, Stage.NORMALIZED, Stage.SIGNATURES), settings) == (
        Stage.RAW,
        Stage.NORMALIZED,
        Stage.SIGNATURES,
    )
    make(Stage.RAW, CHAT, settings)
    assert [stage for stage, state in currency(settings, CHAT).items() if state == "stale"] == ["normalized"]
    make(Stage.NORMALIZED, CHAT, settings)
    assert currency(settings, CHAT) == {
        "raw": "current", "normalized": "current", "signatures": "stale", "duplicates": "current", "deduped": "stale",
        "ledger": "current", "pools": "current",
    }  # fmt: skip
    assert set(currency(settings, MATH).values()) == {"current"}


def test_a_lost_file_makes_its_stage_stale(own_sample: Settings) -> None:
    store = own_sample.store
    store.paths(store.current(Stage.POOLS, CHAT))[0].unlink()
    found = currency(own_sample, CHAT)
    assert [stage for stage in found if found[stage] != "current"] == ["pools"]
    assert make_chain(own_sample, Stage.POOLS) == [(Stage.POOLS, CHAT)]


def test_another_policy_for_pools_concerns_pools_alone(own_sample: Settings, tmp_path: Path) -> None:
    slugs = tuple(own_sample.catalog.sources)
    catalog = catalog_with(tmp_path / "catalog", *slugs)
    pools = catalog / "policies" / "pools.yaml"
    pools.write_text(pools.read_text().replace("0.875", "0.75"))
    changed = replace(own_sample, catalog_dir=catalog)
    assert make_chain(changed, Stage.POOLS) == [(Stage.POOLS, key) for key in changed.catalog.splits]


def test_another_catalog_entry_concerns_its_source_from_normalized_on(own_sample: Settings, tmp_path: Path) -> None:
    catalog = catalog_with(tmp_path / "catalog", *own_sample.catalog.sources)
    entry = catalog / "nemotron-science-v1.yaml"
    entry.write_text(entry.read_text() + "loss_mode: assistant_last\n")
    changed = replace(own_sample, catalog_dir=catalog)
    made = make_chain(changed, Stage.NORMALIZED)
    assert made == [(Stage.NORMALIZED, f"nemotron-science-v1/{name}") for name in ("MCQ", "RQA")]


def test_splits_pass_a_group_of_stages_together_and_what_is_current_is_skipped(settings: Settings) -> None:
    """Duplicates are found across splits, and rendered rows need the origin: nobody runs ahead."""
    before, after = [Stage.RAW, Stage.NORMALIZED, Stage.SIGNATURES], [Stage.DEDUPED, Stage.LEDGER, Stage.POOLS]
    made = make_chain(settings, Stage.POOLS, [MATH, CHAT, RENDERED])
    assert made == [
        *((stage, key) for key in (MATH, CHAT, RENDERED) for stage in before),
        (Stage.DUPLICATES, "distilled"),
        (Stage.DUPLICATES, "rendered"),
        *((stage, key) for key in (MATH, CHAT, RENDERED) for stage in after),
    ]
    assert make_chain(settings, Stage.POOLS, [MATH, CHAT, RENDERED]) == []
    assert make_chain(settings, Stage.NORMALIZED, ["nemotron-math-v2/medium"]) == [
        (stage, "nemotron-math-v2/medium") for stage in before[:2]
    ]


def test_a_step_tells_what_was_made_and_what_was_current(own_sample: Settings) -> None:
    store = own_sample.store
    (store.directory(Stage.LEDGER, CHAT) / "manifest.json").unlink()
    asked: list[tuple[str, str | None]] = []

    def materialize(keys: Sequence[tuple[str, str | None]]) -> None:
        for stage, partition in keys:
            make(stage, str(partition), own_sample)
            asked.append((stage, partition))

    steps = list(run_chain([own_sample.catalog.split(CHAT)], own_sample, UP_TO_POOLS, materialize))
    assert asked == [(Stage.LEDGER, CHAT), (Stage.POOLS, CHAT)]  # from the first that is not current onwards
    assert steps == [
        Step(CHAT, (), (Stage.RAW, Stage.NORMALIZED, Stage.SIGNATURES)),
        Step("distilled", (), (Stage.DUPLICATES,)),
        Step(CHAT, (Stage.LEDGER, Stage.POOLS), (Stage.DEDUPED,)),
    ]


def test_a_failure_stops_the_chain_where_it_is(own_sample: Settings) -> None:
    store = own_sample.store
    for stage in (Stage.NORMALIZED, Stage.DEDUPED):
        (store.directory(stage, MATH) / "manifest.json").unlink()

    def fails(keys: Sequence[tuple[str, str | None]]) -> None:
        raise ConnectionError(keys[0][0])

    with pytest.raises(ConnectionError, match="normalized"):
        list(run_chain([own_sample.catalog.split(MATH)], own_sample, UP_TO_POOLS, fails))


def test_the_summary_says_what_became_of_the_records(own_sample: Settings) -> None:
    (line,) = summarize([own_sample.catalog.split(CHAT)], own_sample)
    assert (line.records, line.kept, sum(line.rejected.values()), sum(line.removed.values())) == (32, 28, 2, 2)
    assert (line.commit, line.scored, line.nll_mean) == (None, None, None)
    store = own_sample.store
    scored = msgspec.structs.replace(
        store.current(Stage.POOLS, CHAT),
        stage=Stage.SCORED,
        counters={"rows": 0, "checkpoints": {"student": {"status": {}, "nll_mean": None}}},
    )
    store.write_manifest(scored)
    (line,) = summarize([own_sample.catalog.split(CHAT)], own_sample)
    assert (line.scored, line.nll_mean) == (0, None)
