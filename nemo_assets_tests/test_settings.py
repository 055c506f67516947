"""What the environment says, its defaults, and one line for what is wrong in it."""

from pathlib import Path

import pytest

from nemo_assets.catalog import CATALOG_DIR
from nemo_assets.errors import UserError
from nemo_assets.machine import workers_that_fit
from nemo_assets.settings import Settings


def test_defaults():
    settings = Settings.from_environment({})
    assert settings == Settings(
        data_dir=Path.cwd() / ".data",
        source_dir=None,
        publish_to=None,
        public=False,
        scorer="modal",
        model_name=None,
        max_length=4096,
        batch_size=8,
        scorer_max_records=None,
        candidate_dataset_id=None,
        candidate_subdir=None,
        endpoint="https://huggingface.co",
        token=None,
        workers=workers_that_fit(),
        sample_records=None,
        catalog_dir=CATALOG_DIR,
        dedup_engine="local",
        ray_address=None,
    )
    assert settings.destination == str(Path.cwd() / ".data" / "hub")
    assert settings.catalog.checkpoints["student"].model == "unsloth/gpt-oss-120b"


def test_every_variable_is_read_and_an_empty_one_is_not_set(tmp_path):
    values = {
        "NEMO_DATA_DIR": str(tmp_path), "NEMO_SOURCE_DIR": "sources", "NEMO_PUBLISH_TO": "hf://me", "NEMO_PUBLIC": "1",
        "NEMO_SCORER": "local", "MODEL_NAME": "me/model", "MAX_LENGTH": "10", "BATCH_SIZE": "2", "MAX_RECORDS": "3",
        "CANDIDATE_DATASET_ID": "me/pools", "CANDIDATE_SUBDIR": "low", "HF_ENDPOINT": "http://hub", "HF_TOKEN": "t",
        "NEMO_WORKERS": "1", "NEMO_CATALOG_DIR": "catalog",
        "NEMO_DEDUP_ENGINE": "ray", "RAY_ADDRESS": "head:6379",
    }  # fmt: skip
    assert Settings.from_environment(values) == Settings(
        tmp_path, Path.cwd() / "sources", "hf://me", True, "local", "me/model", 10, 2, 3, "me/pools", "low", "http://hub",
        "t", 1, None, Path.cwd() / "catalog", "ray", "head:6379",
    )  # fmt: skip
    assert Settings.from_environment(dict.fromkeys(values, "")) == Settings.from_environment({})


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("NEMO_SCORER", "gpu", "set it to modal or local."),
        ("NEMO_DEDUP_ENGINE", "daft", "set it to local or ray."),
        ("NEMO_PUBLIC", "yes", "set it to 1 or 0."),
        *[
            (name, value, "set it to a whole number of 1 or more.")
            for name in ("MAX_LENGTH", "BATCH_SIZE", "MAX_RECORDS", "NEMO_WORKERS")
            for value in ("0", "-1", "1.5", "x", " ")
        ],
        *[
            ("NEMO_SCORING_BUDGET", value, "set it to an amount of dollars above 0, such as 25.")
            for value in ("0", "-1", "x", "inf", "nan")
        ],
        ("NEMO_TOKEN_NLL_ROWS", "-1", "set it to a whole number of 0 or more."),
    ],
)  # fmt: skip
def test_a_wrong_value_is_one_line_that_says_what_it_may_be(name, value, says):
    with pytest.raises(UserError) as refused:
        Settings.from_environment({name: value})
    assert str(refused.value) == f"{name}={value}: {says}"


def test_a_data_directory_keeps_defaults_that_the_environment_overrides(tmp_path):
    (tmp_path / "settings.env").write_text(
        "# of the demo\nNEMO_SCORER=local\n\n  MAX_LENGTH=128\nHF_ENDPOINT=http://a?b=c\n"
    )
    settings = Settings.from_environment({"NEMO_DATA_DIR": str(tmp_path), "MAX_LENGTH": "64"})
    assert (settings.scorer, settings.max_length, settings.endpoint) == ("local", 64, "http://a?b=c")


@pytest.mark.parametrize("line", ["NEMO_SCORER", "=local", "MAX LENGTH=1", "NEMO_DATA_DIR=elsewhere"])
def test_a_line_that_is_no_setting_names_the_file(tmp_path, line):
    path = tmp_path / "settings.env"
    path.write_text(f"NEMO_SCORER=local\n{line}\n")
    with pytest.raises(UserError, match="is no line NAME=value of a setting") as refused:
        Settings.from_environment({"NEMO_DATA_DIR": str(tmp_path)})
    assert str(refused.value).startswith(f"{path}: {line.partition('=')[0]!r}")


def test_a_sample_has_a_directory_of_its_own_and_never_reaches_the_hub():
    settings = Settings.from_environment({"NEMO_PUBLISH_TO": "hf://me", "NEMO_DATA_DIR": "/data"}).sampled(100)
    assert (settings.data_dir, settings.sample_records) == (Path("/data/samples/first-100"), 100)
    assert settings.destination == "/data/samples/first-100/hub"


def test_another_model_takes_the_place_of_the_student_and_of_no_other():
    declared = Settings.from_environment({}).catalog
    catalog = Settings.from_environment({"MODEL_NAME": "me/model"}).catalog
    student = catalog.checkpoints["student"]
    assert (student.model, student.revision, student.score) == ("me/model", None, True)
    assert catalog.checkpoints["reference"] == declared.checkpoints["reference"]
    assert catalog.sources == declared.sources


@pytest.mark.parametrize(
    ("target", "repo"),
    [("hf://me", "me/nemotron-science-v1-pools"), ("hf://me/", "me/nemotron-science-v1-pools"),
     ("out", "local/nemotron-science-v1-pools"), ("", "local/nemotron-science-v1-pools")],
)  # fmt: skip
def test_one_repo_a_source_in_the_organisation_that_is_published_to(target, repo):
    settings = Settings.from_environment({"NEMO_PUBLISH_TO": target})
    assert settings.release_repo(settings.catalog.split("nemotron-science-v1/MCQ")) == repo
