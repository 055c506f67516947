"""Loading checkpoints and saying what was loaded."""

from __future__ import annotations

import shutil
import sys

import pytest

from nemo_assets.errors import UserError
from nemo_assets.scoring.model import directory_revision, load_checkpoint


def test_the_revision_of_a_directory_is_a_digest_of_what_can_change_a_score(tiny_model, tiny_model_directory, tmp_path):
    directory = shutil.copytree(tiny_model_directory("llama"), tmp_path / "model")
    revision = directory_revision(directory)
    assert tiny_model("llama").revision_loaded == revision
    assert tiny_model("llama").name == "tiny-llama"

    (directory / "README.md").write_text("a word about the model")
    assert directory_revision(directory) == revision
    config = directory / "config.json"
    config.write_text(config.read_text().replace("1e-06", "1e-05"))
    assert directory_revision(directory) != revision
    with pytest.raises(UserError, match=f"asks for {revision}"):
        load_checkpoint(str(directory), revision, "cpu")


def test_a_model_that_is_not_there_is_one_clear_line(tiny_model_directory, tmp_path):
    with pytest.raises(UserError, match="does not exist; set MODEL_NAME"):
        load_checkpoint(str(tmp_path / "nowhere"), None, "cpu")
    with pytest.raises(UserError, match=r"holds no config\.json"):
        load_checkpoint(str(tmp_path), None, "cpu")
    half = tmp_path / "half"
    shutil.copytree(tiny_model_directory("llama"), half)
    (half / "model.safetensors").unlink()
    with pytest.raises(UserError, match="cannot be loaded") as failure:
        load_checkpoint(str(half), None, "cpu")
    assert "\n" not in str(failure.value)


def test_a_name_the_hub_does_not_give_is_one_clear_line(tiny_model, monkeypatch):
    tiny_model("llama")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="the model nobody/nothing at revision 0123 cannot be loaded"):
        load_checkpoint("nobody/nothing", "0123", "cpu")


@pytest.mark.parametrize("package", ["torch", "transformers"])
def test_a_missing_extra_says_what_to_install(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"{package} is not installed\): pip install -e '.\[score\]'"):
        load_checkpoint("any/model", None, "cpu")
