"""Settings, environment and launchpad."""

from __future__ import annotations

from pathlib import Path

import pytest

from nemo_assets.errors import UserError
from nemo_assets.orchestration.resources import SettingsResource, config_of
from nemo_assets.settings import Settings


def test_a_field_left_out_is_what_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("NEMO_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("BATCH_SIZE", "3")

    settings = SettingsResource(max_length=128).load()

    assert (settings.data_dir, settings.batch_size, settings.max_length) == (tmp_path, 3, 128)


def test_settings_survive_the_way_through_the_launchpad_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    settings = Settings(data_dir=tmp_path, source_dir=tmp_path / "in", scorer="local", workers=2).sampled(5)
    monkeypatch.setenv("NEMO_PUBLISH_TO", "hf://somebody")
    monkeypatch.setenv("MAX_RECORDS", "7")
    monkeypatch.setenv("NEMO_PUBLIC", "1")

    loaded = SettingsResource(**config_of(settings)).load()

    assert loaded.destination == settings.destination
    assert loaded.scorer_max_records is None
    assert (loaded.public, loaded.sample_records) == (False, 5)
    assert (loaded.data_dir, loaded.source_dir) == (settings.data_dir, settings.source_dir)


def test_the_token_never_stands_in_a_run_config(tmp_path: Path):
    assert "hf_secret" not in str(config_of(Settings(data_dir=tmp_path, token="hf_secret")))


def test_a_wrong_value_is_told_when_the_run_starts():
    resource = SettingsResource(scorer="cpu")

    with pytest.raises(UserError, match="NEMO_SCORER=cpu: set it to modal or local"):
        resource.load()


def test_a_sample_must_not_take_the_place_of_the_whole():
    with pytest.raises(UserError, match="sample_records needs a data_dir of its own"):
        SettingsResource(sample_records=3).load()
