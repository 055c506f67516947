"""How the rows of a split differ between two releases, and why each one does.

Every difference has one cause, told from the two records and ledgers alone:

source      the source (of this split or, through deduplication, of another one) holds something else
code        the code of the stages that decide it is another one
settings    what is declared for those stages is another thing
score       which rows have scores, or were chosen by them
withdrawal  the record was withdrawn, or no longer is

Belongs here: comparing tables, telling causes, the words for both. Does not: reading releases (`release_diff`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import polars as pl

from nemo_assets.records.schema import CORRECTNESS_COLUMNS
from nemo_assets.stages.contamination import CODE_CONTAMINATED
from nemo_assets.stages.release_files import WITHDRAWN

SOURCE, CODE, SETTINGS, SCORE, WITHDRAWAL = "source", "code", "settings", "score", "withdrawal"
BOTH = f"{CODE} and {SETTINGS}"
CAUSES = (SOURCE, CODE, SETTINGS, BOTH, SCORE, WITHDRAWAL)

ROW_KEYS = ("id", "record_uid", "source_file", "source_row")
LEDGER_KEYS = (*ROW_KEYS, "state", "code")
PLACE_COLUMNS = frozenset({"record_uid", "source_revision", "source_file", "source_row", "source_offset"})
"""Where a row's record lies: that it lies elsewhere is no change of the row."""

_NORMALIZED = ("normalized",)
_DEDUPLICATED = ("signatures", "duplicates", "deduped")
_CONTAMINATION = ("signatures", "deduped")
_POOLS = ("pools",)
_NO_RECIPE = frozenset({"revisions", "unit_bytes"})  # settings of `normalized`: the source's revisions, how it is cut
_SAID_BY_SOURCE = ("source_", "meta_")
_TAGS = "quality_tags"
_MOST_GROUPS = 20  # of each kind; the rest are told as one


class Table(Protocol):
    """A frame, or something that becomes one when it is needed."""

    def lazy(self) -> pl.LazyFrame: ...


@dataclass(frozen=True)
class Release:
    """One release of one split, without what both releases hold in files of equal bytes.

    name: tag or commit. record: its release record, empty if the release lacks the split. rows: ROW_KEYS and whatever
    other columns are to be compared, always in the same order. pools: for every pool, and other config that names rows,
    a table with `id`. ledger: LEDGER_KEYS, of all records. Uids are in hex.
    """

    name: str
    record: Mapping[str, Any]
    rows: Table
    pools: Mapping[str, Table]
    ledger: Table


@dataclass(frozen=True)
class ReleaseDiff:
    """What differs, a frame each, with `id` and `cause`.

    entered, left: source_file, source_row and `known`, what the other release's ledger says of the record (state and
    code; null if it does not know it). changed: `columns`. moved, of rows in both: `into` and `out_of`, pools.
    relocated: rows that are equal but lie elsewhere in the source. new_columns, lost_columns: of one release alone.
    """

    split: str
    before: str
    after: str
    rows_before: int
    rows_after: int
    entered: pl.DataFrame
    left: pl.DataFrame
    changed: pl.DataFrame
    moved: pl.DataFrame
    relocated: int
    new_columns: tuple[str, ...] = ()
    lost_columns: tuple[str, ...] = ()

    @property
    def common(self) -> int:
        """Rows that both releases have."""
        return self.rows_before - self.left.height

    @property
    def summary(self) -> dict[str, dict[str, int]]:
        """Rows by what they did and why, as a release record tells it."""
        return {kind: _by_cause(frame) for kind, frame in self._kinds()}

    @property
    def is_empty(self) -> bool:
        frames = [frame for _, frame in self._kinds()]
        return not (any(frame.height for frame in frames) or self.new_columns or self.lost_columns)

    def as_json(self, examples: int = 10) -> dict[str, Any]:
        """Everything in JSON types; of each group of rows some ids."""
        return {
            "split": self.split,
            "before": {"release": self.before, "rows": self.rows_before},
            "after": {"release": self.after, "rows": self.rows_after},
            "summary": self.summary,
            "relocated": self.relocated,
            "new_columns": list(self.new_columns),
            "lost_columns": list(self.lost_columns),
            "groups": [group for kind, frame in self._kinds() for group in _groups(kind, frame, examples)],
        }

    def as_text(self, examples: int = 3) -> str:
        """Plain lines for a reader."""
        lines = [f"{self.split}, {self.before} to {self.after}: {self.rows_before:,} rows, then {self.rows_after:,}"]
        for kind, frame in self._kinds():
            if frame.height:
                lines.append(f"  {_TITLES[kind]}: {frame.height:,}")
                lines += [f"    {_told(group)}" for group in _groups(kind, frame, examples)]
        if self.relocated:
            lines.append(f"  equal, but elsewhere in the source: {self.relocated:,}")
        for title, columns in (("new columns", self.new_columns), ("columns gone", self.lost_columns)):
            if columns:
                lines.append(f"  {title}: {', '.join(columns)}")
        return "\n".join(lines if len(lines) > 1 else [*lines, "  no difference"])

    def _kinds(self) -> tuple[tuple[str, pl.DataFrame], ...]:
        return (("entered", self.entered), ("left", self.left), ("changed", self.changed), ("moved", self.moved))


def compare(before: Release, after: Release) -> ReleaseDiff:
    """Rows that entered, left, changed, or moved between pools, from `before` to `after`.

    Rows are the same if their ids are. Causes:

    - A row of one release alone: what the other one's ledger says of its record. It is found by file and row where the
      content of the file is the same in both, else by id. Unknown there: source. Withdrawn there: withdrawal. Rejected:
      the recipe (code and settings) of `normalized`; as contaminated, of `signatures` and `deduped`. Removed: that of
      `signatures`, `duplicates` and `deduped`. Kept: it has another id, which `normalized` gives.
    - A changed row whose record is the same: the recipe of `normalized`. Its file changed: source, if the content or
      anything the source says of it differs; else that recipe. Another record of unchanged files: deduplication chose
      another one. Tags alone: `signatures` and `deduped`. Correctness alone, where it is joined from another source:
      source, if that one changed, else `pools`.
    - A row in other pools: the cause of its own change, else the recipe of `pools`; in other sets made from scores:
      score.

    Where the recipe of the stages that decide is the same, that of the stages before them counts; where no recipe
    differs, another record of the source must have changed: source.
    """
    recipes = _Recipes(before.record, after.record)
    same_files = sorted(_files(before.record) & _files(after.record))
    unmoved = [path for path, _ in same_files]
    keys_before, keys_after = _keys(before), _keys(after)
    entered = keys_after.join(keys_before, on="id", how="anti", maintain_order="left")
    left = keys_before.join(keys_after, on="id", how="anti", maintain_order="left")
    common = keys_before.join(keys_after, on="id", suffix="_after", maintain_order="left")
    of_before, of_after = (release.rows.lazy().collect_schema() for release in (before, after))
    flags = _differences(before, after, common, [name for name in of_before if name in of_after])
    changed = _changed(common, flags, unmoved, recipes)
    alone = pl.concat([entered["id"], left["id"]])
    return ReleaseDiff(
        split=after.record.get("partition") or before.record.get("partition", ""),
        before=before.name,
        after=after.name,
        rows_before=_row_count(before, keys_before),
        rows_after=_row_count(after, keys_after),
        entered=_explained(entered, before, unmoved, recipes),
        left=_explained(left, after, unmoved, recipes),
        changed=changed,
        moved=_moved(before, after, alone, changed, recipes),
        relocated=_relocated(common, flags),
        new_columns=tuple(name for name in of_after if before.record and name not in of_before),
        lost_columns=tuple(name for name in of_before if after.record and name not in of_after),
    )


class _Recipes:
    """Whether code or settings of stages differ between two records."""

    def __init__(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        self._records = (before, after)

    def of(self, *choices: Iterable[str]) -> str:
        """The cause that the first of these groups of stages with another recipe gives; source if all are the same."""
        return next(filter(None, (self._of_stages(stages) for stages in choices)), SOURCE)

    def is_joined(self) -> bool:
        """Whether correctness comes from another source."""
        return any("correctness" in self._stage(record, "pools").get("inputs", {}) for record in self._records)

    def of_joined(self) -> str:
        """Why joined correctness differs."""
        origins = [self._stage(record, "pools").get("inputs", {}).get("correctness") for record in self._records]
        return self.of(_NORMALIZED) if origins[0] != origins[1] else self.of(_POOLS)

    def _of_stages(self, stages: Iterable[str]) -> str | None:
        differing = {name for stage in stages for name in self._differing(stage)}
        if "recipe" in differing:  # what it was made with is known as a whole only
            return BOTH
        code = any(name.endswith("code") for name in differing)
        settings = any(not name.endswith("code") for name in differing)
        return BOTH if code and settings else CODE if code else SETTINGS if settings else None

    def _differing(self, stage: str) -> set[str]:
        before, after = (self._recipe(record, stage) for record in self._records)
        return {name for name in before | after if before.get(name) != after.get(name)}

    def _recipe(self, record: Mapping[str, Any], stage: str) -> dict[str, str]:
        entry = self._stage(record, stage)
        recipe = {name: value for name, value in entry.get("settings", {}).items() if name not in _NO_RECIPE}
        if "evaluation_sets" in entry.get("inputs", {}):  # declared by us, whoever holds them
            recipe["evaluation records"] = entry["inputs"]["evaluation_sets"]
        return recipe

    @staticmethod
    def _stage(record: Mapping[str, Any], stage: str) -> Mapping[str, Any]:
        entry: Mapping[str, Any] = record.get("stages", {}).get(stage, {})
        return entry


def _files(record: Mapping[str, Any]) -> set[tuple[str, str]]:
    return {(file["path"], file["content_id"]) for file in record.get("source", {}).get("files", ())}


def _keys(release: Release) -> pl.DataFrame:
    return release.rows.lazy().select(ROW_KEYS).collect().with_row_index("position")


def _row_count(release: Release, keys: pl.DataFrame) -> int:
    return int(release.record.get("configs", {}).get("rows", {}).get("rows", keys.height))


def _differences(before: Release, after: Release, common: pl.DataFrame, columns: Iterable[str]) -> pl.DataFrame:
    """A boolean column for each of these in which some row differs; one column in memory at a time."""
    flags = {}
    for name in columns:
        if name == "id" or name in PLACE_COLUMNS:
            continue
        old = _column(before, name).gather(common["position"])
        new = _column(after, name).gather(common["position_after"])
        differs = old.ne_missing(new) if old.dtype == new.dtype else pl.repeat(True, common.height, eager=True)
        if differs.any():
            flags[name] = differs
    return pl.DataFrame(flags)


def _column(release: Release, name: str) -> pl.Series:
    return release.rows.lazy().select(name).collect().to_series()


def _relocated(common: pl.DataFrame, flags: pl.DataFrame) -> int:
    elsewhere = pl.any_horizontal(pl.col(name) != pl.col(f"{name}_after") for name in ROW_KEYS[1:])
    unchanged = ~pl.any_horizontal(flags.columns) if flags.width else pl.lit(True)
    return common.hstack(flags).filter(elsewhere & unchanged).height


def _changed(common: pl.DataFrame, flags: pl.DataFrame, unmoved: list[str], recipes: _Recipes) -> pl.DataFrame:
    """id, columns and cause of the rows in both releases that differ."""
    if flags.width == 0:
        return pl.DataFrame(schema={"id": pl.String, "columns": pl.List(pl.String), "cause": pl.String})
    differing = common.hstack(flags).filter(pl.any_horizontal(flags.columns))
    named = pl.concat_list(pl.when(name).then(pl.lit(name)) for name in flags.columns).list.drop_nulls()
    return differing.select("id", columns=named, cause=_cause_of_change(flags.columns, unmoved, recipes))


def _cause_of_change(columns: list[str], unmoved: list[str], recipes: _Recipes) -> pl.Expr:
    def only(names: Iterable[str]) -> pl.Expr:
        others = [name for name in columns if name not in names]
        return ~pl.any_horizontal(others) if others else pl.lit(True)

    def known(name: str) -> pl.Expr:
        return pl.col(name).is_in(unmoved)

    by_pools = (_POOLS,) if recipes.is_joined() else ()
    same_place = (pl.col("source_file") == pl.col("source_file_after")) & (
        pl.col("source_row") == pl.col("source_row_after")
    )
    said = [name for name in columns if name == "content_sha1" or name.startswith(_SAID_BY_SOURCE)]
    return (
        pl.when(only(CORRECTNESS_COLUMNS) & pl.lit(recipes.is_joined()))
        .then(pl.lit(recipes.of_joined()))
        .when(known("source_file") & same_place & only([_TAGS]))
        .then(pl.lit(recipes.of(_CONTAMINATION, _NORMALIZED)))
        .when(known("source_file") & same_place)
        .then(pl.lit(recipes.of(_NORMALIZED, _DEDUPLICATED, *by_pools)))
        .when(known("source_file") & known("source_file_after"))
        .then(pl.lit(recipes.of(_DEDUPLICATED, _NORMALIZED)))
        .when(pl.any_horizontal(said) if said else pl.lit(False))
        .then(pl.lit(SOURCE))
        .otherwise(pl.lit(recipes.of(_NORMALIZED, _DEDUPLICATED)))
    )


def _explained(alone: pl.DataFrame, other: Release, unmoved: list[str], recipes: _Recipes) -> pl.DataFrame:
    """id, source_file, source_row, known and cause of rows that the `other` release lacks."""
    found = _known_to(other, alone, unmoved)
    listed = pl.Series([entry["record_uid"] for entry in other.record.get("withdrawals", ())], dtype=pl.String)
    state = pl.col("state")
    is_withdrawn = (state == WITHDRAWN) | pl.col("record_uid").is_in(listed.implode())
    cause = (
        pl.when(state.is_null())
        .then(pl.lit(SOURCE))
        .when(is_withdrawn)
        .then(pl.lit(WITHDRAWAL))
        .when((state == "rejected") & (pl.col("code") == CODE_CONTAMINATED))
        .then(pl.lit(recipes.of(_CONTAMINATION, _NORMALIZED)))
        .when(state == "rejected")
        .then(pl.lit(recipes.of(_NORMALIZED)))
        .when(state == "removed")
        .then(pl.lit(recipes.of(_DEDUPLICATED, _NORMALIZED)))
        .otherwise(pl.lit(recipes.of(_NORMALIZED, _DEDUPLICATED)))
    )
    known = (
        pl.when(is_withdrawn)
        .then(pl.lit(WITHDRAWN))
        .otherwise(pl.concat_str("state", "code", separator=": ", ignore_nulls=True))
    )
    told = found.select("id", "source_file", "source_row", known=pl.when(state.is_not_null()).then(known), cause=cause)
    return told.sort("source_file", "source_row", "id")


def _known_to(other: Release, rows: pl.DataFrame, unmoved: list[str]) -> pl.DataFrame:
    """`rows` with record_uid, state and code of the same records in the other ledger, null where it has none."""
    entry = ("record_uid", "state", "code")
    wanted = rows.select("id", "source_file", "source_row").lazy()
    if rows.height == 0:
        return wanted.collect().with_columns(pl.lit(None, pl.String).alias(name) for name in entry)
    ledger = other.ledger.lazy().select(LEDGER_KEYS)
    is_unmoved = pl.col("source_file").is_in(unmoved)
    by_place = wanted.filter(is_unmoved).join(ledger.drop("id"), on=["source_file", "source_row"], how="left")
    # Removed records may share the id of a kept one.
    of_id = ledger.join(wanted, on="id", how="semi").sort(pl.col("state") == "removed", maintain_order=True)
    first = of_id.drop("source_file", "source_row").unique("id", keep="first", maintain_order=True)
    by_id = wanted.filter(~is_unmoved).join(first, on="id", how="left")
    names = ("id", "source_file", "source_row", *entry)
    return pl.concat([by_place.select(names), by_id.select(names)]).collect(engine="streaming")


def _moved(before: Release, after: Release, alone: pl.Series, changed: pl.DataFrame, recipes: _Recipes) -> pl.DataFrame:
    """id, into, out_of and cause of rows in both releases that other pools hold; those made from scores told apart."""
    steps = [step for name in sorted({*before.pools, *after.pools}) for step in _steps(name, before, after, alone)]
    schema = {"id": pl.String, "pool": pl.String, "joins": pl.Boolean, "scored": pl.Boolean}
    every = pl.concat(steps) if steps else pl.DataFrame(schema=schema)
    named = every.group_by("id", "scored").agg(
        into=pl.col("pool").filter(pl.col("joins")), out_of=pl.col("pool").filter(~pl.col("joins"))
    )
    caused = named.join(changed.select("id", own="cause"), on="id", how="left")
    cause = pl.when("scored").then(pl.lit(SCORE)).otherwise(pl.coalesce("own", pl.lit(recipes.of(_POOLS))))
    return caused.select("id", "into", "out_of", cause=cause).sort("id", "cause")


def _steps(name: str, before: Release, after: Release, alone: pl.Series) -> Iterator[pl.DataFrame]:
    """Rows that joined, and rows that left, one pool."""
    members = [_members(release.pools[name]) if name in release.pools else None for release in (before, after)]
    for (one, other), joins in ((members, False), (members[::-1], True)):
        if one is not None:
            gone = one.join(other, on="id", how="anti") if other is not None else one
            steps = gone.join(alone.to_frame(), on="id", how="anti")
            yield steps.with_columns(
                pool=pl.lit(name), joins=pl.lit(joins), scored=pl.lit(name == "scores" or name.startswith("subset_"))
            )


def _members(pool: Table) -> pl.DataFrame:
    return pool.lazy().select("id").unique().collect()


_TITLES = {"entered": "entered", "left": "left", "changed": "changed", "moved": "moved between pools"}
_GROUPED_BY = {"entered": ["known"], "left": ["known"], "changed": ["columns"], "moved": ["into", "out_of"]}


def _by_cause(frame: pl.DataFrame) -> dict[str, int]:
    counted = dict(frame.group_by("cause").len().iter_rows())
    return {cause: counted[cause] for cause in CAUSES if cause in counted}


def _groups(kind: str, frame: pl.DataFrame, examples: int) -> list[dict[str, Any]]:
    """Rows with the same cause and the same particulars, largest group first; beyond the first ones by cause alone."""
    by = ["cause", *_GROUPED_BY[kind]]
    all_groups = (
        frame.group_by(by)
        .agg(rows=pl.len(), examples=pl.col("id").sort().head(examples))
        .sort("rows", pl.col("examples").list.first(), descending=[True, False])
    )
    groups = [{"kind": kind, **group} for group in all_groups.head(_MOST_GROUPS).iter_rows(named=True)]
    rest = (
        all_groups.slice(_MOST_GROUPS)
        .group_by("cause")
        .agg(pl.col("rows").sum(), pl.col("examples").list.first().head(examples))
    )
    return groups + [{"kind": kind, "others": True, **group} for group in rest.sort("cause").iter_rows(named=True)]


def _told(group: Mapping[str, Any]) -> str:
    such_as = f", such as {', '.join(group['examples'])}" if group["examples"] else ""
    return f"{group['cause']}: {group['rows']:,}{_particulars(group)}{such_as}"


def _particulars(group: Mapping[str, Any]) -> str:
    if group.get("others"):
        return " in other ways"
    match group["kind"]:
        case "entered":
            return f" {_known(group['known'])} before"
        case "left":
            return f" {_known(group['known'])} now"
        case "changed":
            return f" in {', '.join(group['columns'])}"
        case _:
            parts = [
                f" {way} {', '.join(pools)}"
                for way, pools in (("into", group["into"]), ("out of", group["out_of"]))
                if pools
            ]
            return ",".join(parts)


def _known(told: str | None) -> str:
    """What the other release knows of a record, in words."""
    return {None: "unknown", "kept": "kept under another id"}.get(told, str(told))
