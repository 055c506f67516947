from __future__ import annotations

import importlib.util
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nemo_assets.sample import HUB
from nemo_assets.settings import Settings
from nemo_assets_tests.browser.dev_server import DevServer, serving
from nemo_assets_tests.browser.person import Person, person_at, require_browser
from nemo_assets_tests.scoring.texts import made_up_rows


@pytest.fixture(autouse=True)
def _clean_environment(_clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NEMO_AUTO_PUBLISH", "NEMO_AUTO_SCORE", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def seen(settings: Settings) -> Settings:
    """Settings of the data directory that the UI shows; with a student to score with, if there is PyTorch."""
    require_browser()
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("transformers") is None:
        return settings
    from nemo_assets.scoring import train_demo_student

    texts = [row.text for row in made_up_rows(30, seed=7)]
    student = train_demo_student(texts, settings.data_dir.parent / "student", steps=10)
    return replace(settings, model_name=str(student))


@pytest.fixture
def server(seen: Settings, tmp_path: Path) -> Iterator[DevServer]:
    """`nemo-assets dev` over an empty data directory, with the bundled sample as source."""
    environment = {"NEMO_DATA_DIR": str(seen.data_dir), "NEMO_SOURCE_DIR": str(HUB), "NEMO_SCORER": "local"}
    if seen.model_name:
        environment["MODEL_NAME"] = seen.model_name
    with serving(["nemo_assets.cli", "dev", "--port", "{port}"], environment, tmp_path / "server.log") as server:
        yield server


@pytest.fixture
def person(server: DevServer) -> Iterator[Person]:
    with person_at(server.address) as person:
        yield person


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where a test with a browser fails, the report says where a picture of the page lies."""
    report = yield
    arguments = getattr(item, "funcargs", {})
    if report.when == "call" and report.failed and "person" in arguments:
        picture = arguments["tmp_path"] / "page.png"
        arguments["person"].page.screenshot(path=picture)
        report.sections.append(("page", f"{arguments['person'].page.url}\nScreenshot: {picture}"))
    return report
