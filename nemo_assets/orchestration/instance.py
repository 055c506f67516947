"""The Dagster home inside the data directory.

Belongs here: dagster.yaml and opening the instance. Does not: starting the UI or the daemon (the command line does).
"""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from nemo_assets.disk import write_durably
from nemo_assets.settings import Settings

DAGSTER_YAML = """\
# Written once by nemo_assets; yours to change. https://docs.dagster.io/deployment/oss/dagster-yaml
telemetry: {enabled: false}
nux: {enabled: false}
run_queue: {dequeue_interval_seconds: 1}
concurrency:
  runs: {max_concurrent_runs: 4}                    # size by memory of the heaviest stage
  pools: {granularity: run, default_limit: 1}       # `hf` and `gpu`: one run at a time each, held in the queue
run_retries: {enabled: true, max_retries: 1, retry_on_asset_or_op_failure: false}   # of killed runs, not of errors
run_monitoring: {enabled: true}
"""


def prepare_home(settings: Settings) -> Path:
    """The directory to set DAGSTER_HOME to, made with its dagster.yaml if it is not there; an existing file is kept."""
    home = settings.dagster_home
    home.mkdir(parents=True, exist_ok=True)
    config = home / "dagster.yaml"
    if not config.exists():
        write_durably(config, DAGSTER_YAML.encode())
    return home


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The instance the UI of this data directory shows; use it as a context manager."""
    return dg.DagsterInstance.from_config(str(prepare_home(settings)))
