"""Whether a commit holds the release it was made for, asked before the commit is tagged.

What is compared travels little: digests come with the listing, row counts, schema and layout from the footers, and of
the rows the first ones of every split, as `datasets` loads them.

Belongs here: what has to hold, and saying what does not. Does not: loading in a process of its own (`hub.loading`),
what to do about a commit that fails (`landing`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from nemo_assets.errors import UserError
from nemo_assets.hub.client import DEFAULT_ENDPOINT
from nemo_assets.hub.features import features_of
from nemo_assets.hub.loading import ROWS_TAKEN, Loaded, Wanted, load_first_rows
from nemo_assets.hub.patterns import match
from nemo_assets.hub.targets import Target
from nemo_assets.progress import track

SHARD_BYTES = 500_000_000  # what the Hub's tools expect at most
ROW_GROUP_ROWS = 4_095
ROW_GROUP_BYTES = 110_000_000  # uncompressed; the Hub's viewer advises 100 MB, and ours are cut by their Arrow bytes
CHUNKED_KEY = b"content_defined_chunking"
"""In the footer of files whose pages are cut by content, so that a change uploads little; as `datasets` writes it."""

_AT_ONCE = 8  # footers; each is one or two small requests that mostly wait
_BUFFER_BYTES = 1 << 16  # read ahead of the first key; Parquet readers take whole columns otherwise
_KEY = "id"
_CARD = "README.md"
_RECORDS = "lineage/"
# What `datasets` takes for data. It chooses one format for a whole repo, so that a second one breaks the first.
_OTHER_FORMATS = frozenset(
    (".arrow", ".csv", ".feather", ".gz", ".json", ".jsonl", ".ndjson", ".orc", ".tar", ".tsv", ".zip", ".zst")
)


class ReleaseError(UserError):
    """A commit does not hold the release it was made for. It is not to be tagged."""


class Verified(NamedTuple):
    """What was looked at: files by digest, footers, and splits of configs that `datasets` loaded."""

    files: int
    footers: int
    loaded: int


@dataclass(frozen=True)
class _Table:
    """A split of a config as its record describes it; `partition` is what to publish again to mend it."""

    config: str
    split: str
    partition: str
    paths: tuple[str, ...]
    sha256: tuple[str, ...]
    rows: int
    features: Sequence[Mapping[str, Any]]

    @property
    def name(self) -> str:
        return f"{self.config}/{self.split}"

    @property
    def columns(self) -> list[str]:
        return [str(feature["name"]) for feature in self.features]

    @property
    def key(self) -> str:
        """The column that tells rows apart."""
        return _KEY if _KEY in self.columns else self.columns[0]


class _Footer(NamedTuple):
    """What matters of the footer of a file; row groups are (rows, bytes uncompressed)."""

    rows: int
    bytes: int
    features: Sequence[Mapping[str, Any]]
    groups: tuple[tuple[int, int], ...]
    page_index: bool
    chunked: bool


@dataclass(frozen=True)
class _Place:
    """A revision of a repo, and how to speak of it."""

    target: Target
    repo: str
    revision: str

    def wrong(self, what: str, todo: str) -> ReleaseError:
        return ReleaseError(f"{self.target.location(self.repo)}@{self.revision[:7]}: {what}. {todo}")


def verify_release(
    target: Target,
    repo: str,
    revision: str,
    records: Mapping[str, Mapping[str, Any]],
    results: Mapping[str, Mapping[str, Any]] | None = None,
    published: Collection[str] | None = None,
    endpoint: str = DEFAULT_ENDPOINT,
    token: str | None = None,
) -> Verified:
    """Compare what a revision holds with the records of its splits, and load it.

    `results` are the records of what was made from scores. `published` names the splits whose footers are read; None
    reads those of all. Everything else is looked at for all splits.

    Raises:
        ReleaseError: the first thing that is not as it should be: where, what was expected and found, what to do.
    """
    place = _Place(target, repo, revision)
    partitions = {split: record["partition"] for split, record in records.items()}
    tables = [table for each in (records, results or {}) for table in _tables(each, partitions)]
    paths = target.paths(repo, revision)
    _require_files(place, tables, paths)
    carded = _require_card(place, tables, paths)
    close = [table for table in tables if published is None or table.split in published]
    if not records:
        raise place.wrong("it has no record of any split", "Publish again.")
    firsts = _require_footers(place, close)
    _require_loads(place, carded, firsts, endpoint, token)
    return Verified(sum(len(table.paths) for table in tables), sum(len(table.paths) for table in close), len(carded))


def _tables(records: Mapping[str, Mapping[str, Any]], partitions: Mapping[str, str]) -> Iterator[_Table]:
    for split, record in sorted(records.items()):
        for config, entry in record["configs"].items():
            yield _Table(
                config, split, partitions.get(split, split), tuple(entry["paths"]), tuple(entry["sha256"]),
                entry["rows"], entry["features"],
            )  # fmt: skip


# The files


def is_data(path: str) -> bool:
    """Whether `datasets` would take a file of a repo for data."""
    return PurePosixPath(path).suffix.lower() in (".parquet", *_OTHER_FORMATS) and not path.startswith(_RECORDS)


def _require_files(place: _Place, tables: Sequence[_Table], paths: Mapping[str, str]) -> None:
    """Every file of a record is there with its bytes; nothing else is there that would be loaded with them."""
    for table in tables:
        for path, sha256 in zip(table.paths, table.sha256, strict=True):
            if path not in paths:
                raise place.wrong(f"{path} is missing", f"Publish {table.partition} again.")
            if paths[path] != sha256:
                raise place.wrong(
                    f"{path} has sha256 {paths[path][:12]}…, published was {sha256[:12]}…",
                    f"Publish {table.partition} again.",
                )
    named = {path for table in tables for path in table.paths}
    folders = {table.config for table in tables} | {path.rpartition("/")[0] for path in named}
    for path in sorted(set(paths) - named):
        suffix = PurePosixPath(path).suffix.lower()
        if suffix == ".parquet" and path.rpartition("/")[0] in folders:
            raise place.wrong(
                f"{path} is of no release, yet lies among its files", "Delete it there and publish again."
            )
        if suffix in _OTHER_FORMATS and not path.startswith(_RECORDS):
            raise place.wrong(
                f"{path} is not Parquet, and `datasets` loads one format a repo", "Delete it and publish again."
            )


# The card


def _require_card(place: _Place, tables: Sequence[_Table], paths: Mapping[str, str]) -> list[_Table]:
    """The card names the files, rows and columns of every table that has rows; the tables that it names."""
    front = _front_matter(place)
    by_name = {table.name: table for table in tables}
    try:
        globs = {
            f"{config['config_name']}/{files['split']}": _list(files["path"])
            for config in front.get("configs", ())  # an empty release has none
            for files in config["data_files"]
        }
        infos = {info["config_name"]: info for info in _list(front.get("dataset_info", []))}
        rows = {f"{name}/{each['name']}": each["num_examples"] for name, i in infos.items() for each in i["splits"]}
        features = {name: info["features"] for name, info in infos.items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise place.wrong(f"{_CARD} lacks what `datasets` reads ({error!r})", "Publish again.") from None
    for name in [*globs, *rows]:
        if name not in by_name:
            raise place.wrong(f"{_CARD} names {name}, which no record has", "Publish again.")
    for table in tables:
        is_outdated = table.name not in globs and _differing(table.features, features.get(table.config, ()))
        if (table.rows or table.name in globs) and not is_outdated:  # the card says that it is to be published again
            _require_carded(place, table, match(globs.get(table.name, ()), paths), rows.get(table.name))
            if difference := _differing(table.features, features.get(table.config, ())):
                raise place.wrong(f"{_CARD}: {table.name}: {difference}", f"Publish {table.partition} again.")
    return [table for table in tables if table.name in globs]


def _require_carded(place: _Place, table: _Table, matched: Sequence[str], rows: int | None) -> None:
    todo = f"Publish {table.partition} again."
    if set(matched) != set(table.paths):
        other = min(set(matched) ^ set(table.paths))
        said = "does not name" if other in table.paths else "names"
        raise place.wrong(f"{_CARD} {said} {other} for {table.name}", todo)
    if rows != table.rows:
        raise place.wrong(f"{_CARD} announces {rows} rows of {table.name}, published were {table.rows}", todo)


def _front_matter(place: _Place) -> Mapping[str, Any]:
    content = place.target.read(place.repo, _CARD, place.revision)
    found = re.match(r"---\r?\n(.*?)\r?\n---\r?\n", (content or b"").decode(errors="replace"), re.DOTALL)
    if found is None:
        raise place.wrong(f"{_CARD} is missing or has no front matter", "Publish again.")
    try:
        loaded = yaml.safe_load(found[1])
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise place.wrong(f"{_CARD}: its front matter is not valid YAML ({reason})", "Publish again.") from None
    return loaded if isinstance(loaded, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _differing(expected: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]]) -> str:
    """How two lists of features differ, in words; empty if they do not."""
    wanted, there = ({feature["name"]: feature for feature in features} for features in (expected, found))
    if missing := [name for name in wanted if name not in there]:
        return f"column {missing[0]} is missing"
    if extra := [name for name in there if name not in wanted]:
        return f"column {extra[0]} was not declared"
    for name, feature in wanted.items():
        if feature != there[name]:
            return f"column {name} is {_type(there[name])}, declared is {_type(feature)}"
    return "" if list(wanted) == list(there) else "its columns are in another order than declared"


def _type(feature: Mapping[str, Any]) -> str:
    said = {key: value for key, value in feature.items() if key != "name"}
    return str(said["dtype"]) if list(said) == ["dtype"] else str(said)


# The footers


def _require_footers(place: _Place, tables: Sequence[_Table]) -> dict[str, Any]:
    """Every file is laid out as it should be; the first key of each table that has rows, by its name."""
    files = [(table, path) for table in tables for path in table.paths]
    rows: Counter[str] = Counter()
    firsts: dict[str, Any] = {}
    with track(f"verify {place.repo}", len(files), "files") as meter, ThreadPoolExecutor(_AT_ONCE) as pool:
        for (table, path), footer in zip(files, pool.map(lambda file: _footer(place, file[1]), files), strict=True):
            if what := _misfit(footer, table):
                raise place.wrong(f"{path}: {what}", f"Publish {table.partition} again.")
            if footer.rows and table.name not in firsts:
                firsts[table.name] = _first_key(place, path, table.key)
            rows[table.name] += footer.rows
            meter.advance(1)
    for table in tables:
        if rows[table.name] != table.rows:
            raise place.wrong(
                f"the files of {table.name} hold {rows[table.name]} rows, published were {table.rows}",
                f"Publish {table.partition} again.",
            )
    return firsts


def _footer(place: _Place, path: str) -> _Footer:
    with place.target.open(place.repo, path, place.revision) as file:
        size = file.seek(0, 2)
        try:
            opened = pq.ParquetFile(file)
        except (pa.ArrowException, OSError) as error:
            raise place.wrong(f"{path} is not readable as Parquet ({_line(error)})", "Publish again.") from None
    metadata = opened.metadata
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    columns = [group.column(number) for group in groups for number in range(group.num_columns)]
    return _Footer(
        metadata.num_rows,
        size,
        features_of(opened.schema_arrow),
        tuple((group.num_rows, group.total_byte_size) for group in groups),
        all(column.has_offset_index for column in columns),
        CHUNKED_KEY in (metadata.metadata or {}),
    )


def _misfit(footer: _Footer, table: _Table) -> str:
    """What is wrong with a file, in words; empty if nothing is."""
    if difference := _differing(table.features, footer.features):
        return difference
    if footer.bytes > SHARD_BYTES:
        return f"it has {footer.bytes:,} bytes, at most {SHARD_BYTES:,} are expected"
    for number, (rows, size) in enumerate(footer.groups):
        if rows > ROW_GROUP_ROWS:
            return f"row group {number} has {rows:,} rows, at most {ROW_GROUP_ROWS:,} are expected"
        if rows > 1 and size > ROW_GROUP_BYTES:
            return f"row group {number} has {size:,} bytes, at most {ROW_GROUP_BYTES:,} are expected"
    if not footer.page_index:
        return "it has no page index"
    return "" if footer.chunked else f"its footer lacks {CHUNKED_KEY.decode()}"


def _first_key(place: _Place, path: str, column: str) -> Any:
    """The first value of a column, from its first page."""
    with place.target.open(place.repo, path, place.revision) as stream:
        file = pq.ParquetFile(stream, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        batch = next(file.iter_batches(batch_size=1, row_groups=_with_rows(file), columns=[column]))
        return batch.column(0)[0].as_py()


def _with_rows(file: pq.ParquetFile) -> list[int]:
    """The first row group that has rows."""
    numbers = range(file.metadata.num_row_groups)
    return [next(number for number in numbers if file.metadata.row_group(number).num_rows)]


def _line(error: BaseException) -> str:
    return str(error).partition("\n")[0]


# Loading


def _require_loads(
    place: _Place, tables: Sequence[_Table], firsts: Mapping[str, Any], endpoint: str, token: str | None
) -> None:
    """`datasets` loads every table, with its columns, from its first row on."""
    loadable = place.target.loadable(place.repo, place.revision)
    revision = place.revision if loadable == place.repo else None  # a folder has none
    wanted = [Wanted(table.config, table.split, table.key) for table in tables]
    for table, loaded in zip(tables, load_first_rows(loadable, revision, wanted, endpoint, token), strict=True):
        if what := _misloaded(table, loaded, firsts):
            raise place.wrong(f"`datasets` loads {table.name} wrongly: {what}", f"Publish {table.partition} again.")


def _misloaded(table: _Table, loaded: Loaded, firsts: Mapping[str, Any]) -> str:
    if loaded.problem:
        return loaded.problem
    if loaded.columns != tuple(table.columns):
        return f"columns {_names(loaded.columns)}, declared are {_names(table.columns)}"
    if loaded.rows != min(ROWS_TAKEN, table.rows):
        return f"{loaded.rows} first rows came, {min(ROWS_TAKEN, table.rows)} were expected"
    if table.name in firsts and loaded.first != firsts[table.name]:
        return f"the first {table.key} is {loaded.first!r}, in its first file it is {firsts[table.name]!r}"
    return ""


def _names(columns: Iterable[str]) -> str:
    return ", ".join(columns) or "none"
