"""The benchmark measures what it says, on little data."""

from __future__ import annotations

from pathlib import Path

import pytest

from nemo_assets_tests.benchmarks.publish_transfer import STORAGES, UNCHANGED, measure, table


@pytest.mark.slow
def test_an_unchanged_release_is_not_sent_again_and_xet_sends_less_of_a_changed_one(tmp_path: Path) -> None:
    sent = measure(tmp_path, megabytes=4, shards=2)
    first = sent["first"]
    for storage in STORAGES:
        assert 0.95 * first.release < first.stored[storage] < 1.05 * first.release
        assert sent[UNCHANGED].stored[storage] == 0
    changed = sent["another meta_correctness"]
    assert changed.stored["large files"] == changed.release
    assert 0 < changed.stored["Xet"] < changed.release / 4
    assert table(sent).count("\n") == 1 + len(sent)
