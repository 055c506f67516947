"""What several tests of this room need of the bundled sample."""

from __future__ import annotations

import polars as pl
import pytest

from nemo_assets.catalog import load_catalog
from nemo_assets.settings import Settings
from nemo_assets.storage import Stage


@pytest.fixture(scope="session")
def sample_texts(sample: Settings) -> list[str]:
    """The text of every row that was made of the bundled sample."""
    store = sample.store
    paths = [path for key in load_catalog().splits for path in store.paths(store.current(Stage.NORMALIZED, key))]
    return pl.read_parquet(paths, columns=["text"])["text"].to_list()
