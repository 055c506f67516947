"""The dataset card of a release: `README.md` with what the Hub reads and what people read.

Belongs here: the wording and layout of the card, a pure function of its content.
Does not: counting rows or choosing files (`stages`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import yaml

from nemo_assets.errors import ConservationError

ROWS_CONFIG = "rows"
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


@dataclass(frozen=True)
class ConfigSplit:
    """The Parquet files of one split of one config; `bytes` as their rows take in memory, `rows` exact.

    `datasets` refuses to load a split whose number of rows differs from the card, or whose files include an empty one.
    """

    config: str
    split: str
    paths: tuple[str, ...]
    rows: int
    bytes: int

    def __post_init__(self) -> None:
        if re.fullmatch(r"\w+(\.\w+)*", self.split) is None:
            raise ValueError(f"{self.split!r} is no split name that `datasets` accepts")
        if not self.paths:
            raise ValueError(f"{self.config}/{self.split} has no files")


@dataclass(frozen=True)
class SplitFunnel:
    """What became of the records of one split; `rejected` and `removed` map a drop code to a count."""

    split: str
    records: int
    kept: int
    rejected: Mapping[str, int]
    removed: Mapping[str, int]

    def __post_init__(self) -> None:
        ended = self.kept + sum(self.rejected.values()) + sum(self.removed.values())
        if ended != self.records:
            raise ConservationError(f"{self.split}: {self.records} records were read, {ended} are accounted for")


@dataclass(frozen=True)
class PoolText:
    """A pool as the card describes it; `name` is its config, `predicate` the rule its rows satisfy."""

    name: str
    purpose: str
    predicate: str


@dataclass(frozen=True)
class CardContent:
    """Everything a card says. `license` is a licence id of the Hub, or `other`; `columns` are (name, type, meaning)."""

    repo_id: str
    title: str
    source_repo: str
    source_revision: str
    license: str
    pools: tuple[PoolText, ...]
    config_splits: tuple[ConfigSplit, ...]
    funnels: tuple[SplitFunnel, ...]
    columns: tuple[tuple[str, str, str], ...]
    attribution: str = ""
    languages: tuple[str, ...] = ("en",)
    tags: tuple[str, ...] = ()


def dataset_card(release: CardContent) -> str:
    """The text of `README.md`; equal content gives equal bytes."""
    front_matter = yaml.safe_dump(_metadata(release), sort_keys=False, allow_unicode=True, width=1000)
    sections = [
        f"---\n{front_matter}---",
        f"# {release.title}",
        _what_it_is(release),
        _pools(release),
        _funnel(release),
        _loading(release),
        _tracing(),
        _columns(release),
        _licence(release),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _metadata(release: CardContent) -> dict[str, object]:
    # `datasets` cannot load a Parquet file without rows, so an empty split is only counted in the body.
    configs = _by_config(each for each in release.config_splits if each.rows)
    metadata: dict[str, object] = {"pretty_name": release.title, "license": release.license}
    if release.license == "other":
        metadata |= {
            "license_name": "per-row",
            "license_link": f"https://huggingface.co/datasets/{release.source_repo}",
        }
    return metadata | {
        "language": list(release.languages),
        "task_categories": ["text-generation"],
        "size_categories": [_size_category(_rows_in(configs.get(ROWS_CONFIG, ())))],
        "source_datasets": [release.source_repo],
        "source_revision": release.source_revision,
        "tags": ["harmony", "lineage", *release.tags],
        "configs": [_config(name, splits) for name, splits in configs.items()],
        "dataset_info": [_info(name, splits) for name, splits in configs.items()],
    }


def _by_config(config_splits: Iterable[ConfigSplit]) -> dict[str, list[ConfigSplit]]:
    grouped: dict[str, list[ConfigSplit]] = {}
    for each in config_splits:
        grouped.setdefault(each.config, []).append(each)
    return grouped


def _config(name: str, splits: Sequence[ConfigSplit]) -> dict[str, object]:
    default = {"default": True} if name == ROWS_CONFIG else {}
    files = [{"split": each.split, "path": _one_or_list(each.paths)} for each in splits]
    return {"config_name": name, **default, "data_files": files}


def _one_or_list(paths: tuple[str, ...]) -> str | list[str]:
    return paths[0] if len(paths) == 1 else list(paths)


def _info(name: str, splits: Sequence[ConfigSplit]) -> dict[str, object]:
    counts = [{"name": each.split, "num_bytes": each.bytes, "num_examples": each.rows} for each in splits]
    return {"config_name": name, "splits": counts, "dataset_size": sum(each.bytes for each in splits)}


def _rows_in(splits: Iterable[ConfigSplit]) -> int:
    return sum(each.rows for each in splits)


def _size_category(rows: int) -> str:
    return next((name for limit, name in _SIZE_CATEGORIES if rows < limit), _LARGEST_CATEGORY)


def _what_it_is(release: CardContent) -> str:
    source = release.source_repo
    return (
        f"Rows of [{source}](https://huggingface.co/datasets/{source}) at revision "
        f"`{release.source_revision}`, rendered in the Harmony format, deduplicated, and sorted into pools. "
        f"The config `{ROWS_CONFIG}` has every row that stayed; a pool has those that serve one purpose. "
        "What became of every record of the source, down to the last rejected one, is counted below."
    )


def _pools(release: CardContent) -> str:
    """Rows per pool and split, then what each pool is for."""
    splits = list(dict.fromkeys(each.split for each in release.config_splits))
    rows = {(each.config, each.split): each.rows for each in release.config_splits}
    names = list(_by_config(release.config_splits))
    counts = [[f"`{name}`", *(_count(rows.get((name, split))) for split in splits)] for name in names]
    meanings = [[f"`{pool.name}`", pool.purpose, f"`{pool.predicate}`"] for pool in release.pools]
    text = "## Pools and splits\n\nRows in each config.\n\n" + _table(["config", *splits], counts)
    if not meanings:
        return text
    return f"{text}\n\n" + _table(["pool", "purpose", "predicate"], meanings)


def _count(rows: int | None) -> str:
    return "–" if rows is None else f"{rows:,}"


def _funnel(release: CardContent) -> str:
    """A row per split and drop code: every record of the source ends in exactly one of them."""
    if not release.funnels:
        return ""
    codes = [
        *((f"rejected: {code}", "rejected", code) for code in _codes(each.rejected for each in release.funnels)),
        *((f"removed: {code}", "removed", code) for code in _codes(each.removed for each in release.funnels)),
    ]
    lines = [
        [
            each.split,
            f"{each.records:,}",
            *(f"{getattr(each, field).get(code, 0):,}" for _, field, code in codes),
            f"{each.kept:,}",
        ]
        for each in release.funnels
    ]
    header = ["split", "records", *(label for label, _, _ in codes), "kept"]
    return (
        "## From records to rows\n\n"
        "Each record of the source is kept, rejected for a defect, or removed as the duplicate of a row that stays.\n\n"
    ) + _table(header, lines)


def _codes(counts: Iterable[Mapping[str, int]]) -> list[str]:
    return sorted({code for each in counts for code in each})


def _loading(release: CardContent) -> str:
    config = next((each for each in release.config_splits if each.config == ROWS_CONFIG), None)
    if config is None:
        return ""
    return (
        "## Loading\n\n```python\nfrom datasets import load_dataset\n\n"
        f'rows = load_dataset("{release.repo_id}", "{ROWS_CONFIG}", split="{config.split}")\n```\n\n'
        "Pass `revision=` with a commit id to read the same rows for ever, `streaming=True` to read without download."
    )


def _tracing() -> str:
    return (
        "## Where a row comes from\n\n"
        "`source_revision`, `source_file` and `source_row` of a row name the record it was made from. "
        "`nemo-assets explain ID` tells its whole history: the record, the rules that judged it, the duplicates it "
        "stands for, the pools it is in, its scores."
    )


def _columns(release: CardContent) -> str:
    if not release.columns:
        return ""
    lines = [[f"`{name}`", f"`{kind}`", meaning] for name, kind, meaning in release.columns]
    return "## Columns\n\n" + _table(["column", "type", "meaning"], lines)


def _licence(release: CardContent) -> str:
    source = f"[{release.source_repo}](https://huggingface.co/datasets/{release.source_repo})"
    where = (
        "Each row carries the licence of its source record in `source_license`." if release.license == "other" else ""
    )
    parts = [f"Derived from {source}; its licence and terms apply (`{release.license}`).", where, release.attribution]
    return "## Licence and attribution\n\n" + " ".join(part for part in parts if part)


def _table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    ruled = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in ruled)


def _cell(text: str) -> str:
    """A vertical bar or a line end inside a cell would end it."""
    return text.replace("|", "\\|").replace("\n", " ")
