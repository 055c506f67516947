"""The corpus of the near-duplicate benchmark is what it claims to be, and its judge is right."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from nemo_assets.harmony import parse
from nemo_assets_tests.benchmarks import dedup_peers
from nemo_assets_tests.benchmarks.dedup_corpus import Counts, corpus, write_rows
from nemo_assets_tests.benchmarks.dedup_speed import main
from nemo_assets_tests.benchmarks.dedup_truth import PLANTED_FILE, ROWS_FILE, SENSES, TRUTH_FILE, sample_ids, score
from nemo_assets_tests.benchmarks.synthetic_signatures import SIMILARITY, synthetic_origins, synthetic_signatures

MEGABYTES = 4.0


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small corpus."""
    return corpus(tmp_path_factory.mktemp("corpora"), MEGABYTES)


@pytest.fixture(scope="module")
def rows(place: Path) -> dict[str, str]:
    """Its texts by id."""
    return dict(pl.read_parquet(place / ROWS_FILE, columns=["id", "text"]).iter_rows())


def test_the_same_seed_gives_the_same_files_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("first", 1), ("again", 1), ("other", 2)):
        (tmp_path / name).mkdir()
        write_rows(tmp_path / name, megabytes=1, seed=seed)
    for file in (ROWS_FILE, PLANTED_FILE):
        first, again, other = ((tmp_path / name / file).read_bytes() for name in ("first", "again", "other"))
        assert first == again != other


def test_every_kind_is_planted_as_often_as_said(place: Path) -> None:
    counts, planted = Counts.of(MEGABYTES), pl.read_parquet(place / PLANTED_FILE)
    kinds = Counter(planted["kind"])
    for kind in ("near", "numbers", "spelling", "exact"):
        assert kinds[kind] == getattr(counts, kind) > 0
    assert kinds["flood"] == 2 * counts.flood
    assert kinds["shared request"] == counts.flood
    solutions = planted.filter(pl.col("kind") == "solution")
    assert solutions["family"].n_unique() == counts.problems
    assert 15 <= solutions.height / counts.problems <= 25


def test_rows_are_valid_harmony_of_varied_length_and_script(rows: dict[str, str]) -> None:
    sizes = [len(text.encode()) for text in rows.values()]
    assert sum(sizes) == pytest.approx(MEGABYTES * 1e6, rel=0.15)
    assert np.percentile(sizes, 5) < 5_000
    assert np.percentile(sizes, 95) > 15_000
    for text in list(rows.values())[:50]:
        messages = parse(text)
        assert "".join(message.raw for message in messages) == text
        assert (messages[0].role, messages[-1].channel) == ("system", "final")
    whole = "".join(rows.values())
    for pattern in (r"\\frac\{\d+\}", r"[\u4e00-\u9fff]{10}", "```python", "[а-я]{5}", r"to=functions\.", "²"):
        assert re.search(pattern, whole), pattern


def test_the_truth_of_whole_texts_is_what_a_plain_count_of_shared_words_says(place: Path, rows: dict[str, str]) -> None:
    truth = pl.read_parquet(place / TRUTH_FILE)
    for one, other, expected in truth.select("one", "other", "words").sample(20, seed=1).iter_rows():
        sets = []
        for text in (rows[one], rows[other]):
            given = re.split(r"[\x00-\x20]+", text.strip())
            sets.append({" ".join(given[start : start + 5]) for start in range(len(given) - 4)})
        assert expected == pytest.approx(len(sets[0] & sets[1]) / len(sets[0] | sets[1]))


def test_near_duplicates_spread_over_the_similarities_of_interest(place: Path) -> None:
    near = pl.read_parquet(place / TRUTH_FILE).filter(pl.col("kind") == "near")["words"].to_numpy()
    counts, _ = np.histogram(near, [0.5, 0.6, 0.7, 0.8, 0.9, 1.01])
    assert (counts >= 5).all()


def test_what_should_count_ignores_openings_problems_and_spelling_but_not_numbers(place: Path) -> None:
    truth = pl.read_parquet(place / TRUTH_FILE).group_by("kind").agg(pl.col(*SENSES, "numbers").mean())
    means = {row["kind"]: row for row in truth.to_dicts()}
    assert means["exact"]["compared"] == means["exact"]["words"] == 1
    assert means["spelling"]["compared"] == 1 > means["spelling"]["words"]
    for kind in ("flood", "shared request"):
        assert means[kind]["words"] > 0.85
        assert means[kind]["compared"] < 0.05
    assert means["numbers"]["tokens"] > 0.4
    assert means["numbers"]["compared"] == means["numbers"]["numbers"] == 0
    assert means["solution"]["tokens"] < 0.3


def test_keeping_one_of_each_group_finds_all_and_removing_a_row_of_its_own_is_wrong(place: Path) -> None:
    planted = pl.read_parquet(place / PLANTED_FILE)
    exact = planted.filter(pl.col("kind") == "exact")["id"].to_list()
    kept = set(planted["id"]) - set(exact)
    judged = score(place, kept, "compared")
    assert (judged.kept, judged.wrong, judged.floods) == (len(kept), 0, 1)
    assert 0 < judged.recall < 1

    alone = planted.filter(pl.len().over("group") == 1, pl.col("family").is_null())["id"][0]
    assert score(place, kept - {alone}, "compared").wrong == 1
    assert score(place, set(planted["group"]), "words").recall == 1
    assert score(place, planted["id"].to_list(), "words").found == 0


def test_rows_of_a_flood_are_duplicates_as_whole_texts_and_not_by_what_should_count(place: Path) -> None:
    planted = pl.read_parquet(place / PLANTED_FILE)
    floods = planted.filter(pl.col("kind") == "flood").sort("id")
    firsts = set(floods.group_by("family").first()["id"])
    kept = set(planted["id"]) - set(floods["id"]) | firsts
    assert score(place, kept, "words").wrong == 0
    assert score(place, kept, "compared").wrong == floods.height - len(firsts)


def test_a_sample_has_whole_groups(place: Path) -> None:
    among = sample_ids(place, 200)
    groups = pl.read_parquet(place / PLANTED_FILE)
    split = groups.group_by("group").agg(pl.col("id").is_in(among).mean())["id"]
    assert len(among) == 200
    assert ((split > 0) & (split < 1)).sum() <= 1  # the one that the sample ends in
    assert score(place, among, "words", among).rows == 200


def test_our_run_and_a_peer_that_is_not_there_give_a_table(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--megabytes", f"{MEGABYTES}", "--rounds", "1", "--cores", "1", "--only", "nemo_assets,rensa"]
    main([*options, "--folder", str(place.parent)])
    ours, peer = capsys.readouterr().out.strip().splitlines()[-2:]
    tool, cores, rows, _, ratio, *_, recall, wrong, floods, _ = (cell.strip() for cell in ours.split("|")[1:-1])
    assert tool.startswith("nemo_assets")
    assert (cores, ratio, recall, wrong, floods) == ("1", "1.0", "1.0000", "0", "100.0%")
    assert int(rows.replace(",", "")) > 300
    assert "no --peers" in peer


def test_a_peer_that_is_not_installed_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    missing = dedup_peers.Peer("no-such-distribution", dedup_peers.PEERS["rensa"].whole)
    monkeypatch.setitem(dedup_peers.PEERS, "missing", missing)
    arguments = ["missing", "all", str(tmp_path / ROWS_FILE), str(tmp_path), "1"]
    assert dedup_peers.main(arguments) == dedup_peers.NOT_INSTALLED


def test_synthetic_signatures_are_as_alike_as_planted() -> None:
    rows = 20_000
    signatures, planted = synthetic_signatures(rows, seed=3), synthetic_origins(rows, seed=3)
    assert (signatures == synthetic_signatures(rows, seed=3)).all()
    assert (planted.origin < planted.row).all()
    assert len(np.unique(planted.row)) == rows * 0.12
    assert np.isin(planted.origin, planted.row).mean() > 0.05  # chains
    same = (signatures[planted.row] == signatures[planted.origin]).mean(axis=1)
    for similarity in SIMILARITY:
        assert same[planted.similarity == similarity].mean() == pytest.approx(similarity, abs=0.01)
    assert (signatures[1:] == signatures[:-1]).mean() < 0.001
