"""The dataset card of a release: `README.md`, what the Hub and `datasets` read and what people read.

Belongs here: the front matter and putting the two together, a pure function of the content. Does not: the page
(`card_page`), counting rows or choosing files (`stages`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

from nemo_assets.hub.card_content import (
    ROWS_CONFIG,
    CardContent,
    ConfigSplit,
    PoolText,
    SplitChanges,
    SplitFunnel,
    Withdrawal,
    shard_glob,
)
from nemo_assets.hub.card_page import page, url_of

__all__ = [
    "ROWS_CONFIG", "CardContent", "ConfigSplit", "PoolText", "SplitChanges", "SplitFunnel", "Withdrawal",
    "dataset_card", "shard_glob",
]  # fmt: skip

_SIZE_CATEGORIES = (  # as the Hub names them, each up to and excluding a number of rows
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"),
    (10**9, "100M<n<1B"),
)
_LARGEST_CATEGORY = "n>1B"


def dataset_card(content: CardContent) -> str:
    """The text of `README.md`; equal content gives equal bytes."""
    front_matter = yaml.dump(_metadata(content), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**6)
    return f"---\n{front_matter}---\n\n{page(content)}"


class _Dumper(yaml.SafeDumper):
    """Quotes what another reader of YAML may take for a number, as the Hub's does `1e5`, and repeats what is equal."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _quoted(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    is_plain = re.fullmatch(r"[^\W\d][^\n\r\x85\u2028\u2029]*", text) is not None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if is_plain else '"')


_Dumper.add_representer(str, _quoted)


def _metadata(content: CardContent) -> dict[str, Any]:
    configs = content.loadable()
    revisions = list(dict.fromkeys(content.source_revisions.values()))
    metadata: dict[str, Any] = {
        "pretty_name": content.title,
        **_license(content),
        "language": list(content.languages),
        "task_categories": ["text-generation"],
        "size_categories": [_size_category(sum(each.rows for each in configs.get(ROWS_CONFIG, ())))],
        "source_datasets": [content.source_repo],
        "source_revision": revisions[0] if len(revisions) == 1 else revisions,
        "tags": ["harmony", "lineage", *content.tags],
    }
    if configs:
        metadata["configs"] = [_config(name, splits) for name, splits in configs.items()]
        metadata["dataset_info"] = [_info(name, splits) for name, splits in configs.items()]
    return metadata


def _license(content: CardContent) -> dict[str, str]:
    """The Hub takes one licence id; several, which stand on the rows, are `other`."""
    if content.licenses != ["other"] and len(content.licenses) == 1:
        return {"license": content.license}
    return {"license": "other", "license_name": "per-row", "license_link": url_of(content.source_repo)}


def _config(name: str, splits: Sequence[ConfigSplit]) -> dict[str, Any]:
    default = {"default": True} if name == ROWS_CONFIG else {}
    files = [{"split": each.split, "path": each.files} for each in splits]
    return {"config_name": name, **default, "data_files": files}


def _info(name: str, splits: Sequence[ConfigSplit]) -> dict[str, Any]:
    """As `datasets` writes it. Sizes of downloads are only said where all are known."""
    info: dict[str, Any] = {"config_name": name}
    if splits[0].features:  # those left have the same columns
        info["features"] = [dict(feature) for feature in splits[0].features]
    info["splits"] = [{"name": each.split, "num_bytes": each.bytes, "num_examples": each.rows} for each in splits]
    downloads = [each.download_bytes for each in splits if each.download_bytes is not None]
    if len(downloads) == len(splits):
        info["download_size"] = sum(downloads)
    return info | {"dataset_size": sum(each.bytes for each in splits)}


def _size_category(rows: int) -> str:
    return next((name for limit, name in _SIZE_CATEGORIES if rows < limit), _LARGEST_CATEGORY)
