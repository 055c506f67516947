"""The Dagster code location: assembles what `orchestration` defines, nothing else."""

from __future__ import annotations

import dagster as dg

from nemo_assets.catalog import Catalog
from nemo_assets.orchestration.assets import chain_assets
from nemo_assets.orchestration.automation import OptIn, automation_sensor
from nemo_assets.orchestration.checks import chain_checks
from nemo_assets.orchestration.external import external_assets
from nemo_assets.orchestration.partitions import Partitions
from nemo_assets.orchestration.resources import SettingsResource
from nemo_assets.orchestration.schedules import source_updates_daily, source_updates_once
from nemo_assets.orchestration.sensors import source_updates
from nemo_assets.settings import Settings


def build_defs(
    *, catalog: Catalog | None = None, opt_in: OptIn | None = None, settings: SettingsResource | None = None
) -> dg.Definitions:
    """Fresh definitions. What is not given is as NEMO_CATALOG_DIR, NEMO_AUTO_PUBLISH and NEMO_AUTO_SCORE say.

    Only the catalog and the opt-ins are read here; all other settings are read when a run starts.
    """
    catalog = Settings.from_environment().catalog if catalog is None else catalog
    partitions, opt_in = Partitions.of(catalog), opt_in or OptIn.from_environment()
    return dg.Definitions(
        assets=[*external_assets(partitions), *chain_assets(partitions, opt_in, catalog)],
        asset_checks=chain_checks(partitions),
        jobs=[source_updates_once],
        schedules=[source_updates_daily],
        sensors=[source_updates, automation_sensor()],
        resources={"settings": settings or SettingsResource()},
        executor=dg.in_process_executor,  # a run is a process of its own already; a step in another one costs 1.6 s
    )


defs = build_defs()
