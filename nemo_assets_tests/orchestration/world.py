"""A tiny project: three sources with a few records each, a catalog for them, and a Dagster instance.

The sources lie in a directory, or on a test Hub where one is given.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from dagster._core.definitions.sensor_definition import SensorExecutionData

from nemo_assets.definitions import build_defs
from nemo_assets.orchestration.automation import OptIn
from nemo_assets.orchestration.resources import SettingsResource, config_of
from nemo_assets.orchestration.sensors import source_updates
from nemo_assets.settings import DEFAULT_ENDPOINT, Settings
from nemo_assets.storage import Stage
from nemo_assets_tests.hub.fixtures import RunningHub

ALPHA = {
    "repo": "org/alpha", "title": "Alpha", "order": 1, "adapter": "math_v2", "template": "math-v2",
    "scope": "distilled", "domain": "math", "identity": "problem_uuid", "license": "cc-by-4.0",
    "splits": {
        "low": {"files": ["data/low*.jsonl"], "effort": "low", "difficulty": "low"},
        "high": {"files": ["data/high.jsonl"], "effort": "high", "difficulty": "high"},
    },
}  # fmt: skip
BETA = {
    "repo": "org/beta", "title": "Beta", "order": 2, "adapter": "chat_messages", "template": "harmony-1",
    "scope": "distilled", "domain": "chat_if", "identity": "uuid", "license": "cc-by-4.0",
    "splits": {"chat": {"files": ["data/chat.jsonl"]}},
}  # fmt: skip
RENDERED = {
    "repo": "org/rendered", "title": "Rendered", "order": 3, "adapter": "rendered_text", "template": "as-published",
    "scope": "rendered", "domain": "math", "identity": "text", "license": "cc-by-4.0", "correctness_from": "alpha",
    "splits": {"low": {"files": ["data/low.parquet"], "effort": "low"}},
}  # fmt: skip
SUBSETS = {
    "checkpoints": {"student": "student"},
    "strata": {"columns": ["dataset"], "min_rows": 2},
    "trust": "quality_valid_harmony",
    "subsets": {"easy": {"purpose": "Easy.", "predicate": "percentile <= 50", "budget": {"share": 0.5}}},
}
POOLS = {
    "requires": "quality_valid_harmony",
    "pools": {
        "evaluated": {"purpose": "Evaluated problems.", "predicate": "meta_correctness IS NOT NULL"},
        "chat": {"purpose": "Chat.", "predicate": "meta_domain = 'chat_if'"},
    },
}
CHECKPOINTS = {"checkpoints": {"student": {"model": "org/student", "purpose": "Trained later."}}}

CHAIN_OF_A_SPLIT = ("raw", "normalized", "signatures", "duplicates", "deduped", "ledger", "pools", "lineage_index")

Key = tuple[str, str | None]


@dataclass
class World:
    """Directories of one test, and runs of its assets on its instance."""

    root: Path
    instance: dg.DagsterInstance
    opt_in: OptIn = field(default_factory=OptIn)
    hub: RunningHub | None = None
    cursor: str | None = None

    def __post_init__(self) -> None:
        self.write_catalog()
        self.write_jsonl("org/alpha/data/low.jsonl", [problem("p1", "1 + 1", "2"), problem("p2", "2 + 2", "4")])
        self.write_jsonl("org/alpha/data/high.jsonl", [problem("p3", "3 + 3", "6")])
        self.write_jsonl(
            "org/beta/data/chat.jsonl",
            [chat("c1", "Hello", "Good day to you."), "not json", chat("c2", "Bye", "See you.")],
        )
        self.settings = Settings(
            data_dir=self.root / "data",
            source_dir=None if self.hub else self.root / "sources",
            endpoint=self.hub.endpoint if self.hub else DEFAULT_ENDPOINT,
            catalog_dir=self.root / "catalog",
            workers=1,
            scorer="local",
        )
        self.defs = build_defs(catalog=self.settings.catalog, opt_in=self.opt_in)

    def write_catalog(self) -> None:
        sources = {"alpha": ALPHA, "beta": BETA, "rendered": RENDERED}
        policies = {
            "policies/pools": POOLS,
            "policies/checkpoints": CHECKPOINTS,
            "policies/duplicates": {"thresholds": {"distilled": 0.8, "rendered": 0.8}},
            "policies/evaluation_sets": {"evaluation_sets": {}},
            "policies/subsets": SUBSETS,
            "policies/withdrawals": {"withdrawals": []},
        }
        for name, content in {**sources, **policies}.items():
            path = self.root / "catalog" / f"{name}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(yaml.safe_dump(content, sort_keys=False))

    def write_jsonl(self, path: str, records: Iterable[Any]) -> None:
        lines = (record if isinstance(record, str) else json.dumps(record) for record in records)
        self.write(path, "".join(f"{line}\n" for line in lines).encode())

    def write_texts(self, path: str, texts: list[str]) -> None:
        content = io.BytesIO()
        pq.write_table(pa.table({"text": texts}), content)
        self.write(path, content.getvalue())

    def write(self, path: str, content: bytes) -> None:
        """Put a file into a source; on the Hub, as one commit."""
        if self.hub is not None:
            org, name, inside = path.split("/", 2)
            self.hub.store.seed(f"{org}/{name}", {inside: content})
            return
        target = self.root / "sources" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

    def run(self, partition: str | None, *names: str, fails: bool = False) -> dg.ExecuteInProcessResult:
        """One real run of these assets and their checks."""
        result = self.defs.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance,
            partition_key=partition,
            asset_selection=[dg.AssetKey(name) for name in names],
            run_config={"resources": {"settings": {"config": config_of(self.settings)}}, "loggers": QUIET},
            raise_on_error=not fails,
        )
        assert result.success is not fails
        return result

    def fill(self, *partitions: str) -> None:
        """Everything up to pools for these splits, as a first backfill would."""
        scopes = dict.fromkeys(self.settings.catalog.split(key).scope for key in partitions)
        for key in partitions:
            self.run(key, "raw", "normalized", "signatures")
        for scope in scopes:
            self.run(scope, "duplicates")
        for key in partitions:
            self.run(key, "deduped", "ledger", "pools", "lineage_index")

    def tick(self) -> SensorExecutionData:
        """A tick of `source_updates`, by what the daemon calls; what it reports is stored as the daemon does."""
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            resources={"settings": SettingsResource(**config_of(self.settings))},
        )
        result = source_updates.evaluate_tick(context)
        for event in result.asset_events:
            self.instance.report_runless_asset_event(event)
        self.cursor = result.cursor
        return result

    def edit_catalog(self, name: str, edit: Callable[[dict[str, Any]], object]) -> None:
        """Edit one file of the catalog. A process reads a catalog once, hence the copy."""
        edited = self.settings.catalog_dir.with_suffix(".edited")
        shutil.copytree(self.settings.catalog_dir, edited)
        path = edited / f"{name}.yaml"
        content = yaml.safe_load(path.read_text())
        edit(content)
        path.write_text(yaml.safe_dump(content))
        self.settings = replace(self.settings, catalog_dir=edited)

    def manifest(self, stage: Stage, partition: str) -> Any:
        return self.settings.store.current(stage, partition)

    def tamper(self, stage: Stage, partition: str, edit: Any) -> None:
        """Change the manifest on disk behind everybody's back."""
        path = self.settings.store.directory(stage, partition) / "manifest.json"
        manifest = json.loads(path.read_text())
        edit(manifest)
        path.write_text(json.dumps(manifest))


TEXT = "<|start|>user<|message|>Hi<|end|><|start|>assistant<|channel|>final<|message|>Ho<|return|>"

QUIET = {"console": {"config": {"log_level": "CRITICAL"}}}


def problem(uuid: str, question: str, answer: str) -> dict[str, Any]:
    """A Math-v2 record: evaluated at low effort only, 3 of 4 attempts right."""
    return {
        "uuid": uuid,
        "expected_answer": answer,
        "messages": [
            {"role": "user", "content": f"What is {question}?"},
            {"role": "assistant", "content": f"The answer is {answer}.", "reasoning_content": f"We add: {question}."},
        ],
        "metadata": {"reason_low_no_tool": {"count": 4, "pass": 3, "accuracy": 0.75}},
    }


def chat(uuid: str, question: str, answer: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"uuid": uuid, "messages": messages, "reasoning": "off"}
