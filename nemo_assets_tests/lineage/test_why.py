from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from nemo_assets import lineage_commands
from nemo_assets.dedup.compared import compared
from nemo_assets.dedup.shingles import shingles_of
from nemo_assets.errors import UserError
from nemo_assets.hub.sources import open_source
from nemo_assets.lineage.why import WhyPage, histogram, why
from nemo_assets.settings import Settings
from nemo_assets.stages.deduped import dedupe
from nemo_assets.stages.duplicates import find_duplicates
from nemo_assets.stages.ledger import write_ledger
from nemo_assets.stages.normalized import normalize
from nemo_assets.stages.raw import fetch_split
from nemo_assets.stages.signatures import sign
from nemo_assets.storage import Stage
from nemo_assets_tests.lineage.chain import FILES, MCQ, line, messages, write_lines
from nemo_assets_tests.lineage.indexing import build

LOW = "nemotron-math-v2/low"


def page(settings: Settings, code: str, partition: str | None = None, n: int = 20, seed: int = 0) -> WhyPage:
    return why(code, settings.catalog, settings.store, partition, n, seed)


def entries(settings: Settings, code: str) -> pl.DataFrame:
    paths = [
        path
        for key in settings.catalog.splits
        for path in settings.store.paths(settings.store.current(Stage.LEDGER, key))
    ]
    return pl.concat([pl.read_parquet(path) for path in paths]).filter(code=code)


def test_near_duplicates_are_shown_from_the_threshold_up(sample: Settings):
    found, expected = page(sample, "near_duplicate", n=3), entries(sample, "near_duplicate").sort("similarity")
    (rule,) = found.rules
    assert (found.count, rule.count, rule.threshold) == (expected.height, expected.height, 0.8)
    assert [each.value for each in rule.above] == expected["similarity"].head(3).to_list()
    assert [each.entry.uid for each in rule.above] == expected["record_uid"].head(3).to_list()
    assert sum(each.records for each in rule.histogram) == expected.height
    assert len(rule.histogram) == 20
    assert rule.histogram[0].low == expected["similarity"].min()
    assert rule.histogram[-1].high == pytest.approx(expected["similarity"].max())


def test_a_limit_is_a_threshold_and_a_reason_without_one_has_a_sample_alone(sample: Settings):
    limited, plain = sorted(page(sample, "unparseable").rules, key=lambda rule: rule.threshold is None)
    assert (limited.threshold, [each.value for each in limited.above]) == (1000.0, [1207.0])
    assert (plain.threshold, plain.above, plain.below, plain.histogram) == (None, (), (), ())
    assert len(plain.sample) == plain.count == 11


def test_the_same_seed_gives_the_same_sample(sample: Settings):
    def drawn(seed: int) -> list[str]:
        return [
            each.entry.record_uid
            for rule in page(sample, "exact_duplicate", n=4, seed=seed).rules
            for each in rule.sample
        ]

    assert drawn(1) == drawn(1)
    assert len({tuple(drawn(seed)) for seed in range(5)}) > 1


def test_an_index_changes_nothing(own_sample: Settings):
    codes = ["near_duplicate", "exact_duplicate", "unparseable", "empty_completion", "no_messages"]
    without = [page(own_sample, code, n=5) for code in codes]
    for key in own_sample.catalog.splits:
        build(own_sample, key)
    assert [page(own_sample, code, n=5) for code in codes] == without
    assert page(own_sample, "near_duplicate", LOW).count == 1


def test_a_pair_that_fell_just_short_is_measured_again(tmp_path: Path):
    settings = Settings(data_dir=tmp_path / "data", source_dir=tmp_path / "hub")
    words = ["".join(letters) for letters in itertools.product("abcdefghij", repeat=3)]  # numbers would have to agree
    answer, longer = " ".join(words[:400]), " ".join(words[:550])
    almost = " ".join(words[:200] + words[201:400])
    lines = [
        line(uuid=name, messages=messages("Say them all.", body))
        for name, body in (("short", answer), ("long", longer), ("close", almost))
    ]
    write_lines(tmp_path / "hub" / FILES[MCQ], lines, True)
    split = settings.catalog.split(MCQ)
    fetch_split(split, open_source(split.repo, settings.source_dir), settings.store)
    normalize(split, settings.store)
    sign(split, settings.catalog, settings.store)
    find_duplicates("distilled", settings.catalog, settings.store)
    dedupe(split, settings.store)
    write_ledger(split, settings.store)
    assert "without a current lineage_index" in page(settings, "near_duplicate").notes[0]
    build(settings, MCQ)
    (rule,) = page(settings, "near_duplicate").rules
    assert [each.entry.id for each in rule.above] == ["close"]
    (below,) = rule.below
    assert below.other is not None
    assert {below.entry.id, below.other.id} == {"short", "long"}
    texts = dict(
        pl.read_parquet(settings.store.paths(settings.store.current(Stage.DEDUPED, MCQ)))
        .select("id", "text")
        .iter_rows()
    )
    first, second = (set(shingles_of(compared(texts[name].encode()).spoken)) for name in ("short", "long"))
    assert below.value == pytest.approx(len(first & second) / len(first | second))
    assert 0.6 < (below.value or 0) < 0.8


def test_an_unknown_code_and_a_split_without_ledger_are_told(sample: Settings, tmp_path: Path):
    with pytest.raises(UserError, match=r"nope: no record has this code. There are empty_completion, exact_duplicate"):
        page(sample, "nope")
    with pytest.raises(UserError, match="Materialise ledger first"):
        page(Settings(data_dir=tmp_path), "near_duplicate")


def test_a_histogram_holds_every_value_once():
    bins = list(histogram(Counter({0.0: 1, 0.5: 2, 1.0: 3, None: 9})))
    assert sum(each.records for each in bins) == 6
    assert (bins[0].records, bins[10].records, bins[-1].records) == (1, 2, 3)
    assert [tuple(each) for each in histogram(Counter({2.0: 4}))] == [(2.0, 2.0, 4)]
    assert list(histogram(Counter({None: 4}))) == []


def test_the_command_shows_the_same(sample: Settings, monkeypatch: pytest.MonkeyPatch):
    app = typer.Typer()
    lineage_commands.register(app)
    monkeypatch.setenv("NEMO_DATA_DIR", str(sample.data_dir))
    told = CliRunner().invoke(app, ["why", "near_duplicate", "-n", "2", "--seed", "3", "--json"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout) == json.loads(json.dumps(page(sample, "near_duplicate", n=2, seed=3).as_json()))
    text = CliRunner().invoke(app, ["why", "unparseable"])
    assert text.exit_code == 0, text.output
