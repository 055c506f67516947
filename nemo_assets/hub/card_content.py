"""What a dataset card says, before it is put into words.

Belongs here: the content and what must hold in it, which files the card may name. Does not: the YAML the Hub reads
(`card`), the page people read (`card_page`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nemo_assets.errors import ConservationError

ROWS_CONFIG = "rows"
IMAGES = (
    "images/tokens.png", "images/correctness.png", "images/domain.png", "images/nll.png", "images/subset_nll.png",
    "images/subset_scatter.png", "images/subset_funnel.png",
)  # fmt: skip
"""Pictures that a card may show, in its order."""


def shard_glob(config: str, split: str) -> str:
    """The files of a split of a config; no other split's, as a split name has no dash."""
    return f"{config}/{split}-*.parquet"


@dataclass(frozen=True)
class ConfigSplit:
    """The Parquet files that the glob `files` finds: one split of one config.

    `rows` is exact, for `datasets` refuses a split with another number of rows than the card says. `bytes` are those of
    the rows in memory, `download_bytes` those of the files (None: not known). `features` is as `features_of` makes it;
    empty where files alone shall say which columns there are.
    """

    config: str
    split: str
    files: str
    rows: int
    bytes: int
    download_bytes: int | None = None
    features: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        if re.fullmatch(r"\w+", self.split) is None:
            raise ValueError(f"{self.split!r} is no split name that `datasets` accepts")
        if re.fullmatch(r"\w[\w.-]*", self.config) is None:
            raise ValueError(f"{self.config!r} is no config name")
        if not self.files:
            raise ValueError(f"{self.config}/{self.split} has no files")

    @property
    def columns(self) -> frozenset[str]:
        """Names with types; their order is of no interest to `datasets`."""
        return frozenset(repr(sorted(feature.items())) for feature in self.features)


@dataclass(frozen=True)
class SplitFunnel:
    """What became of the records of one split.

    `rejected` and `removed` map a drop code to a count, `withdrawn` a reason to the rows that would be kept without it.
    """

    split: str
    records: int
    kept: int
    rejected: Mapping[str, int]
    removed: Mapping[str, int]
    withdrawn: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ended = self.kept + sum(sum(each.values()) for each in (self.rejected, self.removed, self.withdrawn))
        if ended != self.records:
            raise ConservationError(f"{self.split}: {self.records} records were read, {ended} are accounted for")


@dataclass(frozen=True)
class PoolText:
    """A pool as the card describes it; `name` is its config, `predicate` the rule its rows satisfy."""

    name: str
    purpose: str
    predicate: str


@dataclass(frozen=True)
class Withdrawal:
    """A record that was taken out of the release: the `id` of its row (its record_uid where it has none), and why."""

    id: str
    reason: str


@dataclass(frozen=True)
class SplitChanges:
    """How many rows of a split are others than in the release `since`, by cause.

    `entered` are new, `left` are gone, `changed` have another content under the same id, `moved` are in other pools.
    """

    split: str
    since: str
    entered: Mapping[str, int]
    left: Mapping[str, int]
    changed: Mapping[str, int]
    moved: Mapping[str, int]


ColumnText = tuple[str, str, str]
"""Name, type and meaning of a column."""


@dataclass(frozen=True, kw_only=True)
class CardContent:
    """Everything a card says; equal content makes equal cards.

    Attributes:
        repo_id: `<org>/<name>` on the Hub; without a slash it names a folder, which the examples read in place.
        source_revisions: revision of the source by split.
        license: licence id of the Hub, or several joined by ` AND `, or `other`.
        pools: those that exist, in the order of the page.
        config_splits: files of all configs. Configs that are neither `rows` nor a pool are listed as side configs.
        columns: those of `rows` and of the pools.
        side_columns: columns by side config, for those worth telling.
        config_meanings: what a side config holds, where the page does not know or shall say otherwise.
        code_meanings: what a drop code means.
        images: paths in the repo, of IMAGES, that the page shows.
        newest_split: the split published last; its columns count where splits of a config differ in columns.
        pinned: a tag or commit id for the examples of loading; empty where none is known to stay.
    """

    repo_id: str
    title: str
    source_repo: str
    source_revisions: Mapping[str, str]
    license: str
    pools: tuple[PoolText, ...] = ()
    config_splits: tuple[ConfigSplit, ...] = ()
    funnels: tuple[SplitFunnel, ...] = ()
    columns: tuple[ColumnText, ...] = ()
    side_columns: Mapping[str, tuple[ColumnText, ...]] = field(default_factory=dict)
    config_meanings: Mapping[str, str] = field(default_factory=dict)
    code_meanings: Mapping[str, str] = field(default_factory=dict)
    withdrawals: tuple[Withdrawal, ...] = ()
    changes: tuple[SplitChanges, ...] = ()
    images: tuple[str, ...] = ()
    attribution: str = ""
    languages: tuple[str, ...] = ("en",)
    tags: tuple[str, ...] = ()
    newest_split: str = ""
    pinned: str = ""

    @property
    def licenses(self) -> list[str]:
        """The licence ids."""
        return self.license.split(" AND ")

    def loadable(self) -> dict[str, list[ConfigSplit]]:
        """What `datasets` can load, by config, `rows` first.

        Left out are splits without rows, which `datasets` cannot load, and with it no other split of the config, and
        those with other columns than the newest.
        """
        outdated = set(self.outdated())
        wanted = [each for each in self.config_splits if each.rows and (each.config, each.split) not in outdated]
        return by_config(sorted(wanted, key=lambda each: each.config != ROWS_CONFIG))

    def outdated(self) -> list[tuple[str, str]]:
        """(config, split) whose columns are not the newest ones of the config: they must be published again."""
        found = []
        for config, splits in by_config(each for each in self.config_splits if each.rows).items():
            newest = self._newest_columns(splits)
            found += [(config, each.split) for each in splits if each.columns != newest]
        return found

    def _newest_columns(self, splits: Sequence[ConfigSplit]) -> frozenset[str]:
        for each in splits:
            if each.split == self.newest_split:
                return each.columns
        rows: Counter[frozenset[str]] = Counter()
        for each in splits:
            rows[each.columns] += each.rows
        return max(rows, key=lambda columns: rows[columns])


def by_config(config_splits: Iterable[ConfigSplit]) -> dict[str, list[ConfigSplit]]:
    """The splits of each config, in the order given."""
    grouped: dict[str, list[ConfigSplit]] = {}
    for each in config_splits:
        grouped.setdefault(each.config, []).append(each)
    return grouped
