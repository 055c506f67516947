"""The card of a repo, made from the records of all its splits and from the catalog.

Belongs here: what the card is told. Does not: how it is worded (`hub.card`) and drawn (`card_plots`), the records.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from nemo_assets.card_plots import card_images
from nemo_assets.catalog import Catalog, Split
from nemo_assets.hub.card import dataset_card
from nemo_assets.hub.card_content import (
    CardContent,
    ColumnText,
    ConfigSplit,
    PoolText,
    SplitChanges,
    SplitFunnel,
    Withdrawal,
    shard_glob,
)
from nemo_assets.records.schema import ROW_SCHEMA
from nemo_assets.scoring.rows import PUBLISHED_SCORE_SCHEMA
from nemo_assets.stages.release_files import CONTROL, SIDE_SCHEMAS, STRATA_SCHEMA, SUBSET, published_schema
from nemo_assets.stages.release_record import Record


def card_files(
    split: Split, catalog: Catalog, repo: str, records: Mapping[str, Record], results: Mapping[str, Record]
) -> dict[str, bytes]:
    """`README.md` and the pictures it shows, by path. `split` is the one published now."""
    order = [name for name in split.source.splits if name in records]
    order += sorted(set(records) - set(order))  # splits the catalog no longer names
    told, scored = [records[name] for name in order], [results[name] for name in order if name in results]
    images = card_images(told, scored)
    content = _content(split, catalog, repo, told, scored, tuple(images))
    return {**images, "README.md": dataset_card(content).encode()}


def _content(
    split: Split, catalog: Catalog, repo: str, records: Sequence[Record], results: Sequence[Record],
    images: tuple[str, ...],
) -> CardContent:  # fmt: skip
    return CardContent(
        repo_id=repo,
        title=f"{split.source.title}: rows and candidate pools",
        source_repo=split.repo,
        source_revisions={record["split"]: record["source"]["revision"] for record in records},
        license=split.source.license,
        pools=tuple(PoolText(name, pool.purpose, pool.predicate) for name, pool in catalog.pools.items()),
        config_splits=tuple(_config_splits(catalog, records, results)),
        funnels=tuple(SplitFunnel(record["split"], **record["funnel"]) for record in records),
        columns=_columns(published_schema(ROW_SCHEMA)),
        side_columns={**{name: _columns(schema) for name, schema in SIDE_SCHEMAS.items() if name != "removed"},
                      "scores": _columns(PUBLISHED_SCORE_SCHEMA), "strata": _columns(STRATA_SCHEMA)},
        withdrawals=tuple(
            Withdrawal(entry["id"] or entry["record_uid"], entry["reason"])
            for record in records for entry in record["withdrawals"]
        ),
        changes=tuple(
            SplitChanges(split=record["split"], **record["changes"]) for record in records if record["changes"]
        ),
        images=images,
        config_meanings=_subset_meanings(results),
        languages=tuple(dict.fromkeys(language for record in records for language in record["languages"])),
        newest_split=split.name,
    )  # fmt: skip


def _config_splits(catalog: Catalog, records: Sequence[Record], results: Sequence[Record]) -> Iterator[ConfigSplit]:
    known = ("rows", *catalog.pools, *SIDE_SCHEMAS)
    there = {name for record in (*records, *results) for name in record["configs"]}
    for config in (*(name for name in known if name in there), *sorted(there - set(known))):
        for record in (*records, *results):
            entry = record["configs"].get(config)
            if entry:
                yield ConfigSplit(
                    config, record["split"], shard_glob(config, record["split"]), entry["rows"], entry["bytes"],
                    entry["download_bytes"], entry["features"],
                )  # fmt: skip


def _subset_meanings(results: Sequence[Record]) -> dict[str, str]:
    """What the configs of subsets hold, by the rules that the records name."""
    meanings = {}
    for record in results:
        for name, told in record.get("subsets", {}).items():
            gate = "trusted rows with " if told["trusted"] else ""
            meanings[f"{SUBSET}{name}"] = f"{told['purpose'].rstrip('.')}: {gate}{told['rule']}"
            meanings[f"{SUBSET}{CONTROL}{name}"] = (
                f"Random control of {SUBSET}{name}: trusted rows of the same strata and as many tokens, drawn blindly"
            )
    return meanings


def _columns(schema: pa.Schema) -> tuple[ColumnText, ...]:
    """Name, type and meaning of every column."""
    meanings = ((field, (field.metadata or {}).get(b"description", b"").decode()) for field in schema)
    return tuple((field.name, str(field.type), meaning) for field, meaning in meanings)
