"""What is defined, before anything runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from nemo_assets.definitions import build_defs
from nemo_assets.errors import UserError
from nemo_assets.orchestration.automation import OptIn
from nemo_assets.settings import Settings


@pytest.fixture(scope="module")
def defs() -> dg.Definitions:
    return build_defs(opt_in=OptIn())


def test_the_definitions_of_the_real_catalog_load(defs: dg.Definitions):
    dg.Definitions.validate_loadable(defs)


def test_every_asset_says_what_it_is_and_whose(defs: dg.Definitions):
    for spec in defs.resolve_all_asset_specs():
        assert spec.description
        assert spec.group_name != "default"
        assert spec.kinds, spec.key
        assert spec.owners
        if spec.key.to_user_string() not in ("source", "recipe"):
            columns = spec.metadata["dagster/column_schema"].columns
            assert all(column.description for column in columns), spec.key


def test_the_chain_depends_as_designed(defs: dg.Definitions):
    specs = defs.resolve_all_asset_specs()
    deps = {spec.key.to_user_string(): {dep.asset_key.to_user_string() for dep in spec.deps} for spec in specs}

    assert deps == {
        "source": set(),
        "recipe": set(),
        "raw": {"source"},
        "evaluation_sets": {"recipe"},
        "normalized": {"raw", "recipe"},
        "signatures": {"normalized"},  # and evaluation_sets, where any is declared
        "duplicates": {"signatures"},
        "deduped": {"duplicates", "normalized"},
        "ledger": {"deduped"},
        "pools": {"deduped", "recipe", "normalized"},
        "lineage_index": {"ledger", "pools"},
        "published": {"pools", "ledger"},
        "scored": {"published"},
        "subsets": {"scored", "recipe"},
        "results": {"scored", "published", "subsets"},
        "inventory": {"normalized"},
        "metadata_coverage": {"normalized", "pools"},
    }


def test_splits_are_partitions_in_precedence_order_and_duplicates_are_found_by_scope(defs: dg.Definitions):
    catalog = Settings.from_environment({}).catalog
    partitions = {spec.key.to_user_string(): spec.partitions_def for spec in defs.resolve_all_asset_specs()}

    assert partitions["normalized"].get_partition_keys() == list(catalog.splits)
    assert partitions["duplicates"].get_partition_keys() == ["distilled", "rendered"]
    assert partitions["inventory"] is None


@pytest.mark.parametrize(
    ("opt_in", "automated"),
    [(OptIn(), set()), (OptIn(publish=True), {"published"}), (OptIn(True, True), {"published", "scored"})],
)
def test_what_costs_money_or_shows_data_runs_by_itself_only_on_request(opt_in: OptIn, automated: set[str]):
    specs = {spec.key.to_user_string(): spec for spec in build_defs(opt_in=opt_in).resolve_all_asset_specs()}

    assert {name for name in ("published", "scored") if specs[name].automation_condition} == automated


def test_opting_in_is_said_by_1_or_0():
    assert OptIn.from_environment({"NEMO_AUTO_SCORE": "1"}) == OptIn(score=True)
    with pytest.raises(UserError, match="NEMO_AUTO_PUBLISH=yes: set it to 1 or 0"):
        OptIn.from_environment({"NEMO_AUTO_PUBLISH": "yes"})


def test_nothing_runs_by_itself_until_somebody_switches_it_on(defs: dg.Definitions):
    sensors, schedules = list(defs.sensors or []), list(defs.schedules or [])

    assert {sensor.name for sensor in sensors} == {"source_updates", "automation"}
    assert [schedule.name for schedule in schedules] == ["source_updates_daily"]
    assert all(sensor.default_status is dg.DefaultSensorStatus.STOPPED for sensor in sensors)
    assert all(schedule.default_status is dg.DefaultScheduleStatus.STOPPED for schedule in schedules)


def test_loading_the_definitions_loads_no_model_library(tmp_path: Path):
    code = (
        "import sys, nemo_assets.definitions\n"
        "print(sorted({'torch', 'transformers', 'modal', 'datasets'} & set(sys.modules)))"
    )

    told = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)

    assert told.stdout.strip() == "[]"
    assert told.stderr == ""
