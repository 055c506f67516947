"""A release that is whole passes; of one that is not, the first thing that is wrong is named."""

from __future__ import annotations

import hashlib
import io
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from nemo_assets.hub.client import Hub
from nemo_assets.hub.directory_target import DirectoryTarget
from nemo_assets.hub.features import features_of
from nemo_assets.hub.hub_target import HubTarget
from nemo_assets.hub.loading import Wanted, load_first_rows
from nemo_assets.hub.targets import Change, Target
from nemo_assets.stages.release_verification import CHUNKED_KEY, ReleaseError, Verified, verify_release
from nemo_assets.storage.parquet import write_part
from nemo_assets_tests.hub.fixtures import RunningHub

REPO = "alice/nemotron-tiny-pools"
ROWS = pa.schema([("id", pa.string()), ("text", pa.string()), ("score", pa.float64()), ("tags", pa.list_(pa.string()))])
TOOLS = pa.schema([("tools_id", pa.string()), ("count", pa.int64())])
FIRST, SECOND, OTHER = "rows/low-00000.parquet", "rows/low-00001.parquet", "rows/high-00000.parquet"


def rows(first: int, count: int, length: int = 20) -> pa.Table:
    numbers = range(first, first + count)
    letters = random.Random(first)
    columns = {
        "id": [f"row-{number}" for number in numbers],
        "text": [letters.randbytes(length // 2).hex() for _ in numbers],
        "score": [number / 7 for number in numbers],
        "tags": [["math", "hard"][: number % 3] for number in numbers],
    }
    return pa.table(columns, ROWS)


def shard(table: pa.Table, folder: Path) -> bytes:
    path = folder / "shard.parquet"
    write_part(path, table)
    return path.read_bytes()


@dataclass
class Release:
    """A release of two splits: what is sent, and what its records say. Both are there to be spoiled."""

    files: dict[str, bytes]
    records: dict[str, Any] = field(default_factory=dict)

    def record(self) -> None:
        """Let the records tell of the files as they are."""
        for split in ("low", "high"):
            configs = {name: self._entry(name, split) for name in ("rows", "tools")}
            configs = {name: entry for name, entry in configs.items() if entry["paths"]}
            self.records[split] = {"split": split, "partition": f"nemotron-tiny/{split}", "configs": configs}

    def _entry(self, config: str, split: str) -> dict[str, Any]:
        paths = sorted(path for path in self.files if path.startswith(f"{config}/{split}-"))
        return {
            "paths": paths,
            "sha256": [hashlib.sha256(self.files[path]).hexdigest() for path in paths],
            "rows": sum(pq.read_metadata(io.BytesIO(self.files[path])).num_rows for path in paths),
            "features": features_of(ROWS if config == "rows" else TOOLS),
        }

    def card(self, **changed: int) -> None:
        """Write the card; `changed` maps a split to the number of rows it shall claim of `rows`."""
        configs, infos = [], []
        for config in ("rows", "tools"):
            entries = {split: record["configs"].get(config) for split, record in self.records.items()}
            there = {split: entry for split, entry in entries.items() if entry}
            configs.append({
                "config_name": config,
                "data_files": [{"split": split, "path": f"{config}/{split}-*.parquet"} for split in there],
            })  # fmt: skip
            infos.append({
                "config_name": config,
                "features": next(iter(there.values()))["features"],
                "splits": [
                    {"name": split, "num_bytes": 1, "num_examples": changed.get(split, entry["rows"])}
                    if config == "rows" else {"name": split, "num_bytes": 1, "num_examples": entry["rows"]}
                    for split, entry in there.items()
                ],
            })  # fmt: skip
        front = yaml.safe_dump({"license": "other", "configs": configs, "dataset_info": infos}, sort_keys=False)
        self.files["README.md"] = f"---\n{front}---\n# Tiny\n".encode()

    def send(self, target: Target) -> str:
        return target.commit(REPO, Change(dict(self.files), (), "Publish"), target.head(REPO))


@pytest.fixture
def release(tmp_path: Path) -> Release:
    made = Release({
        FIRST: shard(rows(0, 50), tmp_path),
        SECOND: shard(rows(50, 40), tmp_path),
        OTHER: shard(rows(90, 2), tmp_path),
        "tools/low-00000.parquet": shard(pa.table({"tools_id": ["a"], "count": [3]}, TOOLS), tmp_path),
        "lineage/low.json": b"{}",
        "images/tokens.png": b"\x89PNG\r\n",
    })  # fmt: skip
    made.record()
    made.card()
    return made


@pytest.fixture
def directory(tmp_path: Path) -> DirectoryTarget:
    return DirectoryTarget(tmp_path / "published")


def verify(target: Target, release: Release, revision: str, published: str | None = "low") -> Verified:
    return verify_release(target, REPO, revision, release.records, {}, published)


def test_a_whole_release_in_a_directory_passes(release: Release, directory: DirectoryTarget, tmp_path: Path) -> None:
    release.files["tools/high-00000.parquet"] = shard(TOOLS.empty_table(), tmp_path)  # a split may have no rows
    release.record()
    release.card()
    assert verify(directory, release, release.send(directory), published=None) == Verified(files=5, footers=5, loaded=4)


def test_a_whole_release_in_a_private_repo_passes_and_only_its_footers_travel(
    release: Release, hub_server: RunningHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = shard(rows(50, 3_000, length=2_000), tmp_path)
    release.files[SECOND] = large
    release.record()
    release.card()
    target = HubTarget(Hub(hub_server.endpoint, hub_server.token))
    revision = release.send(target)
    release.files["README.md"] = b"# Without front matter\n"
    release.send(target)  # what `main` shows meanwhile is another matter
    (tmp_path / REPO).mkdir(parents=True)  # `datasets` would take this folder for the repo
    monkeypatch.chdir(tmp_path)
    hub_server.wire.forget()
    found = verify_release(target, REPO, revision, release.records, {}, "low", hub_server.endpoint, hub_server.token)
    assert found == Verified(files=4, footers=3, loaded=3)
    asked = hub_server.wire.received("GET", f"/large/{hashlib.sha256(large).hexdigest()}")
    travelled = [int(stop) - int(start) + 1 for request in asked for start, stop in [ends(request.range)]]
    assert len(large) > 3_000_000
    assert 0 < sum(travelled) < 200_000


def ends(asked: str | None) -> tuple[str, str]:
    found = re.fullmatch(r"bytes=(\d+)-(\d+)", asked or "")
    assert found, asked
    return found[1], found[2]


def wrong_byte(release: Release, _: Path) -> None:
    content = release.files[SECOND]
    release.files[SECOND] = content[:40] + bytes([content[40] ^ 1]) + content[41:]


def missing_shard(release: Release, _: Path) -> None:
    del release.files[SECOND]


def extra_shard(release: Release, folder: Path) -> None:
    release.files["rows/low-00002.parquet"] = shard(rows(200, 5), folder)


def wrong_count_in_the_card(release: Release, _: Path) -> None:
    release.card(low=89)


def wrong_count_in_the_record(release: Release, _: Path) -> None:
    release.records["low"]["configs"]["rows"]["rows"] = 89
    release.card()


def column_dropped(release: Release, folder: Path) -> None:
    release.files[SECOND] = shard(rows(50, 40).drop_columns(["score"]), folder)
    release.record()


def values_of_the_other_split(release: Release, folder: Path) -> None:
    """Its footers are not looked at: loading it tells."""
    release.files[OTHER] = shard(rows(90, 2).set_column(2, "score", pa.array(["one", "two"])), folder)
    release.record()


def column_of_another_type(release: Release, folder: Path) -> None:
    release.files[SECOND] = shard(rows(50, 40).set_column(2, "score", pa.array([1] * 40, pa.int64())), folder)
    release.record()


def broken_card(release: Release, _: Path) -> None:
    release.files["README.md"] = release.files["README.md"].replace(b"license: other", b"license: [other")


def card_without_a_config(release: Release, _: Path) -> None:
    release.files["README.md"] = release.files["README.md"].replace(b"config_name: tools", b"config_name: tolls")


def file_of_another_format(release: Release, _: Path) -> None:
    release.files["scores/low.jsonl"] = b'{"id": "row-0"}\n'


def no_parquet(release: Release, _: Path) -> None:
    footer = 20_000  # bytes; not even a beginning of it can be read
    record, index = release.records["low"]["configs"]["rows"], 1
    release.files[SECOND] = b"PAR1" + b"\0" * footer
    record["sha256"][index] = hashlib.sha256(release.files[SECOND]).hexdigest()


def many_rows_in_a_group(release: Release, _: Path) -> None:
    release.files[SECOND] = written(rows(50, 4_100), row_group_size=4_100)
    release.record()
    release.card()


def many_bytes_in_a_group(release: Release, _: Path) -> None:
    table = rows(50, 2).set_column(1, "text", pa.array([letter * 56_000_000 for letter in "ab"]))
    release.files[SECOND] = written(table)
    release.record()
    release.card()


def no_page_index(release: Release, _: Path) -> None:
    release.files[SECOND] = written(rows(50, 40), write_page_index=False)
    release.record()


def not_cut_by_content(release: Release, _: Path) -> None:
    release.files[SECOND] = written(rows(50, 40), metadata={})
    release.record()


def written(table: pa.Table, metadata: dict[bytes, str] | None = None, **options: Any) -> bytes:
    """A Parquet file as this project does not write it."""
    sink = io.BytesIO()
    schema = table.schema.with_metadata({CHUNKED_KEY: "{}"} if metadata is None else metadata)
    settings = {"write_page_index": True, "use_dictionary": False, **options}
    pq.write_table(table.cast(schema), sink, **settings)
    return sink.getvalue()


DEFECTS: list[tuple[Callable[[Release, Path], None], str]] = [
    (
        wrong_byte,
        r"rows/low-00001\.parquet has sha256 \w{12}…, published was \w{12}…\. Publish nemotron-tiny/low again",
    ),
    (missing_shard, r"rows/low-00001\.parquet is missing\. Publish nemotron-tiny/low again"),
    (extra_shard, r"rows/low-00002\.parquet is of no release, yet lies among its files"),
    (wrong_count_in_the_card, r"README\.md announces 89 rows of rows/low, published were 90"),
    (wrong_count_in_the_record, r"the files of rows/low hold 90 rows, published were 89"),
    (column_dropped, r"rows/low-00001\.parquet: column score is missing"),
    (values_of_the_other_split, r"`datasets` loads rows/high wrongly: .*Failed to parse string: '(one|two)'"),
    (column_of_another_type, r"rows/low-00001\.parquet: column score is int64, declared is float64"),
    (broken_card, r"README\.md: its front matter is not valid YAML \(.*expected ',' or ']'"),
    (card_without_a_config, r"README\.md names tolls/low, which no record has"),
    (file_of_another_format, r"scores/low\.jsonl is not Parquet"),
    (no_parquet, r"rows/low-00001\.parquet is not readable as Parquet"),
    (many_rows_in_a_group, r"rows/low-00001\.parquet: row group 0 has 4,100 rows, at most 4,095 are expected"),
    (many_bytes_in_a_group, r"rows/low-00001\.parquet: row group 0 has 112,\d{3},\d{3} bytes, at most 110,000,000"),
    (no_page_index, r"rows/low-00001\.parquet: it has no page index"),
    (not_cut_by_content, r"rows/low-00001\.parquet: its footer lacks content_defined_chunking"),
]


@pytest.mark.parametrize(("spoil", "said"), [pytest.param(*each, id=each[0].__name__) for each in DEFECTS])
def test_a_defect_is_named(
    spoil: Callable[[Release, Path], None], said: str, release: Release, directory: DirectoryTarget, tmp_path: Path
) -> None:
    spoil(release, tmp_path)
    revision = release.send(directory)
    with pytest.raises(ReleaseError, match=said) as raised:
        verify(directory, release, revision)
    assert str(raised.value).startswith(f"{directory.location(REPO)}@{revision[:7]}: ")
    assert "\n" not in str(raised.value)


def test_what_loaded_before_is_not_taken_for_what_is_there_now(release: Release, hub_server: RunningHub) -> None:
    good = hub_server.store.seed(REPO, release.files)
    card = release.files["README.md"].replace(b"config_name: tools", b"config_name: tolls")
    bad = hub_server.store.seed(REPO, {"README.md": card})
    wanted = [Wanted("tools", "low", "tools_id"), Wanted("tools", "high", "tools_id")]
    first, absent = load_first_rows(REPO, good, wanted, hub_server.endpoint, None)
    assert (first.columns, first.rows, first.first, first.problem) == (("tools_id", "count"), 1, "a", "")
    assert absent.problem == "it has the splits low only"
    assert "'tools' not found" in load_first_rows(REPO, bad, wanted, hub_server.endpoint, None)[0].problem
