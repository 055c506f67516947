"""Types of the catalog."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Literal

import msgspec

from nemo_assets.catalog.subset_policy import SubsetPolicy
from nemo_assets.errors import UserError

Effort = Literal["low", "medium", "high"]
Action = Literal["tag", "reject"]
Identity = Literal["uuid", "problem_uuid", "content", "text"]


class SplitEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One split as written in the YAML: what its name says of a row and, where the source's card does not say it, its
    files (paths or globs).
    """

    files: tuple[str, ...] | None = None
    effort: Effort | None = None
    difficulty: Effort | None = None


class SourceEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One source dataset.

    identity: how a row's `id` is made. `uuid`: the source's uuid names the row; `problem_uuid`: it names the problem,
    so 12 hex of the content are appended; `content`: sha1 of the content; `text`: sha1 of the ready-made text.
    order: precedence in deduplication, smaller first. correctness_from: slug of the source whose evaluation is joined
    by equal text, split by split. dropped_text: whether the text of rejected and removed records may be published;
    false where the licence does not allow it. languages: ISO 639 codes of what the rows are written in.
    """

    repo: str
    title: str
    order: int
    adapter: str
    template: str
    scope: str
    domain: str
    identity: Identity
    license: str
    splits: dict[str, SplitEntry]
    loss_mode: Literal["assistant_all", "assistant_last", "assistant_sampled"] = "assistant_all"
    loss_terminators: bool = False
    subset: str = "default"
    correctness_from: str | None = None
    dropped_text: bool = True
    languages: tuple[str, ...] = ("en",)


class Split(msgspec.Struct, frozen=True):
    """One partition: a split of a source, with everything the catalog says of it."""

    slug: str
    name: str
    source: SourceEntry
    entry: SplitEntry
    position: int

    @property
    def key(self) -> str:
        """The Dagster partition key, `<dataset-slug>/<split>`."""
        return f"{self.slug}/{self.name}"

    @property
    def repo(self) -> str:
        return self.source.repo

    @property
    def scope(self) -> str:
        return self.source.scope


class Pool(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A named purpose and the SQL predicate over canonical columns that admits a row to it."""

    purpose: str
    predicate: str


class PoolPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All pools, and what every pool demands besides its own predicate."""

    requires: str
    pools: dict[str, Pool]


class Checkpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model whose NLL is measured; `revision` is a commit, branch or tag of its repo (null: whatever is there).

    imported: its scores come from `nemo-assets import-scores`, nothing is measured. gpu: that of the deployed Modal app
    if null. tokens_per_second of one GPU counts until a run has measured it.
    """

    model: str
    purpose: str
    revision: str | None = None
    score: bool = True
    imported: bool = False
    gpu: str | None = None
    dollars_per_hour: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    tokens_per_second: Annotated[float, msgspec.Meta(gt=0)] | None = None


Share = Annotated[float, msgspec.Meta(gt=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=1)]


class DuplicatePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When rows count as duplicates, and when so many are removed that somebody should look.

    thresholds: Jaccard similarity by scope. numbers_must_agree: domains in which rows with other numbers are no
    duplicates. removal_ceiling: share of a source's rows, removal_ceilings the same by source; survivor_ceiling: rows
    that one survivor stands for.
    """

    thresholds: dict[str, Share]
    numbers_must_agree: tuple[str, ...] = ()
    unique_statements: bool = True
    bucket_cap: Count = 1000
    removal_ceiling: Share = 0.5
    removal_ceilings: dict[str, Share] = {}
    survivor_ceiling: Count = 1000


class ContaminationActions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What becomes of a row in which a record of an evaluation set is found, by how much of it is found."""

    verbatim: Action = "reject"
    near: Action = "tag"
    template_sibling: Action = "tag"


class EvaluationSet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Records that no row may hold: files of a dataset on the Hub, or one local file.

    repo: `<org>/<name>`, with the globs `files` and, to pin it, the 40 hex digits of a commit as `revision`; path: the
    local file instead, relative to the YAML. columns: what is looked for in rows; id: the column that names a record,
    else its row number does. near: share of the n-grams of a record that, found in a row, make the row a near one.
    """

    columns: tuple[str, ...]
    repo: str | None = None
    revision: str | None = None
    files: tuple[str, ...] = ()
    path: str | None = None
    id: str | None = None
    near: Share = 0.8
    actions: ContaminationActions = ContaminationActions()


WithdrawalReason = Literal["takedown", "licence", "error"]


class Withdrawal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Records that no release may hold any longer, named in one of two ways.

    id: every record with this id, of the source `dataset` (a slug) alone where that is given. It outlives changes of
    the source, unless they change the id. record_uid: one record, in 32 hex digits; its file's content is part of what
    it names, so that the entry no longer hits once the source changes that file.
    """

    reason: WithdrawalReason
    id: str | None = None
    record_uid: str | None = None
    note: str = ""
    dataset: str | None = None

    @property
    def named(self) -> str:
        """What is withdrawn, in words: `id x of <slug>`."""
        if self.record_uid is not None:
            return f"record_uid {self.record_uid}"
        return f"id {self.id}" + (f" of {self.dataset}" if self.dataset else "")


class Catalog(msgspec.Struct, frozen=True, dict=True):
    """Everything declared, sources in precedence order."""

    sources: dict[str, SourceEntry]
    pool_policy: PoolPolicy
    checkpoints: dict[str, Checkpoint]
    evaluation_sets: dict[str, EvaluationSet]
    duplicate_policy: DuplicatePolicy
    subset_policy: SubsetPolicy
    withdrawals: tuple[Withdrawal, ...] = ()

    @cached_property
    def splits(self) -> Mapping[str, Split]:
        """Every split by partition key, in dedup precedence order."""
        return {split.key: split for split in self._numbered()}

    def _numbered(self) -> Iterator[Split]:
        position = 0
        for slug, source in self.sources.items():
            for name, entry in source.splits.items():
                yield Split(slug, name, source, entry, position)
                position += 1

    def split(self, key: str) -> Split:
        """The split with this partition key; raises UserError naming the nearest ones there are."""
        if key in self.splits:
            return self.splits[key]
        slug = key.partition("/")[0]
        known = [k for k in self.splits if k.startswith(f"{slug}/")] or list(self.splits)
        raise UserError(f"{key}: the catalog has no such split. It has {', '.join(known)}.")

    def source(self, name: str) -> tuple[str, SourceEntry]:
        """Slug and entry of a source given by slug or repo id."""
        for slug, entry in self.sources.items():
            if name in (slug, entry.repo):
                return slug, entry
        raise UserError(f"{name}: the catalog has no such dataset. It has {', '.join(self.sources)}.")

    @cached_property
    def scopes(self) -> Mapping[str, tuple[str, ...]]:
        """Partition keys by dedup scope, in precedence order."""
        scopes: dict[str, tuple[str, ...]] = {}
        for key, split in self.splits.items():
            scopes[split.scope] = (*scopes.get(split.scope, ()), key)
        return scopes

    @property
    def pools(self) -> Mapping[str, Pool]:
        return self.pool_policy.pools
