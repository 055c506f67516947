from __future__ import annotations

import json
import random
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nemo_assets import lineage_commands
from nemo_assets.dedup.compared import compared
from nemo_assets.dedup.shingles import shingles_of
from nemo_assets.errors import UserError
from nemo_assets.lineage.find import LONGEST, Finding, Hit, find
from nemo_assets.lineage.index import LineageIndex
from nemo_assets.lineage.text_search import Words, rare_windows, votes
from nemo_assets.settings import Settings
from nemo_assets.storage import Stage, Store
from nemo_assets_tests.lineage.chain import LOW, MCQ, RQA, SHARED_UUID, World
from nemo_assets_tests.lineage.indexing import build, indexed_copy

HIGH = "nemotron-math-v2/high_part02"


@pytest.fixture(scope="module")
def indexed(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    return indexed_copy(world, tmp_path_factory.mktemp("indexed"))


@pytest.fixture(scope="module")
def searched(sample: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The sample with an index of every split."""
    folder = tmp_path_factory.mktemp("searched") / "data"
    shutil.copytree(sample.data_dir, folder)
    settings = replace(sample, data_dir=folder)
    for key in settings.catalog.splits:
        build(settings, key)
    return settings


def search(settings: Settings, text: str, limit: int = 10) -> Finding:
    return find(text, settings.catalog, settings.store, limit)


def opened(settings: Settings, key: str) -> LineageIndex:
    index = LineageIndex.open(settings.store, key)
    assert index is not None
    return index


def text_of(settings: Settings, hit: Hit) -> str:
    index = opened(settings, hit.entry.partition)
    text = index.texts([index.number_of(hit.entry)])[0]
    assert text is not None
    return text


@pytest.mark.parametrize(
    ("reference", "matched_by"),
    [("mcq-first", "id"), ("mcq-fi", "beginning of an id"), ("nemotron-math-v2:low::3", "place")],
)
def test_a_reference_names_its_record(indexed: World, reference: str, matched_by: str):
    finding = search(indexed.settings, f"  {reference}\n")
    assert [hit.matched_by for hit in finding.hits] == [matched_by]
    assert finding.notes == ()


def test_a_reference_to_several_records_shows_them(indexed: World):
    hits = search(indexed.settings, SHARED_UUID).hits
    assert [(hit.matched_by, hit.entry.source_row) for hit in hits] == [
        ("one of several it names", 1),
        ("one of several it names", 2),
    ]


def test_a_whole_text_is_found_by_its_digest_and_its_twins_by_theirs(indexed: World):
    index = opened(indexed.settings, MCQ)
    row = index.row(0)
    assert row is not None
    for paste in (row["text"], row["text_sha1"]):
        hits = search(indexed.settings, paste).hits
        equal = [(hit.entry.id, hit.matched_by) for hit in hits if hit.matched_by.startswith("equal")]
        assert equal[:2] == [("mcq-first", "equal text"), ("mcq-again", "equal text")]
    twins = search(indexed.settings, row["content_sha1"]).hits
    # That of RQA has another system prompt: another text, the same content.
    assert [(hit.entry.id, hit.matched_by) for hit in twins] == [
        ("mcq-first", "equal content"),
        ("mcq-again", "equal content"),
        ("rqa-same", "equal content"),
    ]


def test_a_span_stands_where_it_says_in_paste_and_row(indexed: World):
    paste = "They wrote: Short waves scatter more strongly. And so on."
    hit = search(indexed.settings, paste).hits[0]
    assert (hit.entry.partition, hit.entry.source_row, hit.matched_by) == (RQA, 1, "verbatim")
    span, text = hit.spans[0], text_of(indexed.settings, hit)
    assert paste[span.begin : span.end] == "Short waves scatter more strongly"
    assert text[span.row_begin : span.row_end] == "Short waves scatter more strongly"
    assert (span.words, span.is_exact) == (5, True)
    assert hit.snippet is not None
    assert "Short waves scatter" in hit.snippet


def test_case_and_signs_between_words_may_differ_and_are_told(indexed: World):
    hit = search(indexed.settings, "SHORT WAVES… scatter more strongly").hits[0]
    assert (hit.entry.source_row, hit.spans[0].is_exact) == (1, False)


def test_every_text_is_found_by_a_piece_of_it(searched: Settings):
    draw, looked_at = random.Random(0), 0
    for key in searched.catalog.splits:
        index = opened(searched, key)
        for number, text in enumerate(index.texts(range(index.records))):
            words = Words.of(text or "")
            if len(words.words) < 40:
                continue
            first = len(words.words) - 30 - draw.randrange(10)  # most begin alike, none ends as another does
            piece = words.text[words.begins[first] : words.ends[first + 29]]
            hits = search(searched, piece, 50).hits
            found = {(hit.entry.partition, opened(searched, hit.entry.partition).number_of(hit.entry)) for hit in hits}
            assert (key, number) in found
            assert hits[0].spans[0].words == 30
            looked_at += 1
    assert looked_at > 250


def test_spans_are_common_and_as_long_as_can_be(searched: Settings):
    text = max((text or "" for text in opened(searched, HIGH).texts(range(28))), key=len)
    paste = text[2_000:3_000] + " something else stands between the two " + text[5_000:6_000]
    hit = search(searched, paste).hits[0]
    theirs, ours = Words.of(text_of(searched, hit)), Words.of(paste)
    assert sum(s.end - s.begin for s in hit.spans[:2]) > 1_900
    for span in hit.spans:
        first, row_first = ours.begins.index(span.begin), theirs.begins.index(span.row_begin)
        common = slice(first, first + span.words), slice(row_first, row_first + span.words)
        assert ours.words[common[0]] == theirs.words[common[1]]
        before = first > 0 and row_first > 0
        assert not before or ours.words[first - 1] != theirs.words[row_first - 1]
        after, row_after = first + span.words, row_first + span.words
        goes_on = after < len(ours.words) and row_after < len(theirs.words)
        assert not goes_on or ours.words[after] != theirs.words[row_after]


def test_a_text_with_every_seventh_word_changed_is_found_as_similar(searched: Settings):
    index = opened(searched, HIGH)
    entry = next(e for e in index.entries(range(index.records)) if e.state == "kept")
    text = index.texts([index.number_of(entry)])[0] or ""
    spoken = compared(text.encode()).spoken.decode()
    words = spoken.split(" ")
    paste = " ".join(f"changed{n}" if n % 16 == 7 else word for n, word in enumerate(words))
    finding = search(searched, paste, 200)
    hit = next(hit for hit in finding.hits if hit.entry == entry)
    if hit.matched_by == "similar":
        both = compared(text.encode())
        ours, theirs = set(shingles_of(paste.encode())), set(shingles_of(both.spoken)) | set(shingles_of(both.heard))
        assert hit.jaccard == pytest.approx(len(ours & theirs) / len(ours | theirs), abs=0.02)
    else:
        assert hit.spans


def test_a_rejected_record_is_found_by_what_is_in_it(indexed: World):
    hits = search(indexed.settings, "cut off messages uuid").hits
    assert [(hit.entry.partition, hit.entry.source_row, hit.entry.state) for hit in hits] == []
    hits = search(indexed.settings, 'uuid": "cut off", "messages').hits
    assert [(hit.entry.partition, hit.entry.source_row, hit.entry.state) for hit in hits] == [(LOW, 5, "rejected")]


def test_ten_megabytes_are_cut_and_said_to_be(indexed: World):
    paste = "They take up carbon dioxide. " + "x" * 10_000_000
    began = time.perf_counter()
    finding = search(indexed.settings, paste)
    assert time.perf_counter() - began < 10
    assert finding.notes == (f"Of 10,000,029 characters the first {LONGEST:,} were looked for.",)
    assert len(finding.paste) == LONGEST
    assert "mcq-first" in [hit.entry.id for hit in finding.hits]


@pytest.mark.parametrize(
    "paste", ['"', "a AND b NEAR(c*", "\0", "∑∑∑", "\udcff\udcfe", "{}" * 300, "text:x", "-", "a" * 600]
)
def test_a_paste_of_anything_is_an_answer(indexed: World, paste: str):
    assert search(indexed.settings, paste).hits == ()


def test_an_empty_paste_is_refused(indexed: World):
    with pytest.raises(UserError, match="nothing to look for"):
        search(indexed.settings, " \n ")


def test_windows_are_left_out_where_others_were_found_and_only_there(searched: Settings):
    indexes = [opened(searched, key) for key in searched.catalog.splits]
    texts = [(number, text or "") for number, text in enumerate(opened(searched, HIGH).texts(range(28)))]
    number, text = max(texts, key=lambda each: len(each[1]))
    paste = Words.of(text[200:1_200])
    windows, place = rare_windows(paste, indexes), list(searched.catalog.splits).index(HIGH)
    assert len(windows) > 3
    every, few = (votes(paste, windows, indexes, most) for most in (10**9, 0))
    assert (every.left_out, few.left_out) == (0, len(windows) - 1)
    assert few.weights.items() <= dict.fromkeys(few.weights, 1.0).items()
    assert set(few.weights) <= set(every.weights)
    assert (place, number) in few.weights
    nowhere = Words.of(" ".join(f"{word} said" for word in paste.words[:20]))
    assert votes(nowhere, rare_windows(nowhere, indexes), indexes, most=0) == ({}, 0)


def test_a_paste_of_common_words_says_what_was_not_looked_up(searched: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(votes, "__defaults__", (0,))
    text = max((text or "" for text in opened(searched, HIGH).texts(range(28))), key=len)
    found = search(searched, text[200:1_200])
    assert found.hits[0].spans
    assert re.fullmatch(r"\d+ of \d+ stretches of 8 words were not looked up: .*", found.notes[0])


def test_what_was_searched_is_said(indexed: World, world: World, tmp_path: Path):
    told = search(indexed.settings, "nothing holds these five words").searched
    # Of a Parquet source the null and the text that is no UTF-8 have none that could be searched.
    assert (told.records, told.texts, told.missing) == (20, 18, {})
    assert told.sentence().startswith("Searched 18 texts of 20 records (kept, removed and rejected) of 5 splits")
    without = search(world.settings, "They take up carbon dioxide.")
    assert without.hits == ()
    assert "No text was searched" in without.searched.sentence()
    index = indexed.store.directory(Stage.LINEAGE_INDEX, MCQ)
    index.rename(tmp_path / "elsewhere")
    try:
        partly = search(indexed.settings, "They take up carbon dioxide.")
    finally:
        (tmp_path / "elsewhere").rename(index)
    assert partly.searched.missing == {MCQ: "never made"}
    assert [hit.entry.partition for hit in partly.hits] == [RQA]
    assert f"Not searched, without a current index: {MCQ} (never made)." in partly.searched.sentence()


def test_without_any_ledger_the_reference_is_said_to_be_unknown(indexed: World, tmp_path: Path):
    finding = find("mcq-first", indexed.catalog, Store(tmp_path))
    assert finding.hits == ()
    assert "Materialise ledger first" in finding.notes[0]


def test_the_command_shows_the_same(indexed: World, monkeypatch: pytest.MonkeyPatch):
    import typer

    app = typer.Typer()
    lineage_commands.register(app)
    monkeypatch.setenv("NEMO_DATA_DIR", str(indexed.settings.data_dir))
    told = CliRunner().invoke(app, ["find", "-", "--json"], input="Short waves scatter more strongly")
    assert told.exit_code == 0, told.output
    finding = search(indexed.settings, "Short waves scatter more strongly")
    assert json.loads(told.stdout) == json.loads(json.dumps(finding.as_json()))
    text = CliRunner().invoke(app, ["find", "Short waves scatter more strongly"])
    assert text.exit_code == 0, text.output
