from __future__ import annotations

import dataclasses

import pytest

from nemo_assets.lineage import explain, passport_text
from nemo_assets_tests.lineage.chain import LINES, LOW, MCQ, RQA, World


@pytest.mark.parametrize(("partition", "row"), [(LOW, 0), (LOW, 2), (LOW, 4), (LOW, 5), (MCQ, 0), (MCQ, 1), (RQA, 0)])
def test_the_text_begins_with_the_verdict_and_ends_with_the_exact_record(world: World, partition: str, row: int):
    passport = explain(f"{partition.replace('/', ':')}::{row}", world.catalog, world.store)
    head, ruler, original = passport_text(passport).partition("\n--- Original record")
    assert ruler
    assert original.partition("\n")[2].encode() == LINES[partition][row]
    paragraph = head.partition("\n\n")[0]
    assert " ".join(paragraph.split()) == passport.verdict
    for text in head.splitlines():
        assert len(text) <= 100 or len(text.split()) == 1  # a path or URL stays whole


def test_bytes_that_are_no_utf8_are_announced(world: World):
    text = passport_text(explain("nemotron-math-v2:low::3", world.catalog, world.store))
    assert "--- Original record, 36 bytes, not UTF-8: odd bytes shown as U+FFFD" in text
    assert text.endswith('{"uuid": "broken", "messages": "\ufffd\ufffd"}')


def test_data_cannot_move_the_cursor_or_reorder_the_text(world: World):
    passport = explain("mcq-first", world.catalog, world.store)
    hostile = dataclasses.replace(passport.entry, id="a\x1b[2Jb\u202ec")
    text = passport_text(dataclasses.replace(passport, entry=hostile, original=None))
    assert r"a\x1b[2Jb\u202ec" in text
    assert "\x1b" not in text
    assert "\u202e" not in text
