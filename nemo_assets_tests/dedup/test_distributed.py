"""Two machines instead of one: the same signatures, the same buckets, the same rows removed.

The cluster is two nodes on this machine. Daft and Ray are asked for nothing that the local functions could not do, so
what those give is what is expected.
"""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nemo_assets.dedup.bands import Buckets, buckets_of, optimal_banding
from nemo_assets.dedup.candidates import Rows
from nemo_assets.dedup.compared import texts_of
from nemo_assets.dedup.distributed import buckets_distributed, signatures_distributed
from nemo_assets.dedup.near import near_duplicates
from nemo_assets.dedup.signatures import SIGNATURE_SCHEMA, read_signed, signatures_of
from nemo_assets.dedup.verification import similarity
from nemo_assets.errors import UserError
from nemo_assets.records.schema import ROW_SCHEMA
from nemo_assets_tests.building import LEAN, MATH, math_v2, normalize_one, proofs
from nemo_assets_tests.dedup.test_near import corpus, first_of
from nemo_assets_tests.requirements import absent

BANDING = optimal_banding(0.8)
ROW_GROUP = 40  # rows: several batches a part


def require_ray() -> None:
    """Without Daft and Ray the test skips, or fails if NEMO_REQUIRE_RAY=1."""
    if not all(map(importlib.util.find_spec, ("daft", "ray"))):
        absent("Daft or Ray is missing: pip install -e '.[ray]'", required_by="NEMO_REQUIRE_RAY")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster of two nodes of one core each."""
    require_ray()
    import ray
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 200_000_000}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        nodes = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
        try:
            nodes.add_node(**node)
            nodes.wait_for_nodes()
            yield nodes.address
        finally:
            ray.shutdown()
            nodes.shutdown()


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Chains of edited rows, copies, siblings with other numbers, shared prompts, a flood, and strangers."""
    return [text for seed in range(3) for text in corpus(seed)]


@pytest.fixture(scope="module")
def parts(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The rows of two splits in three parts, one of them empty; of the statements every second has no verdict."""
    verified = {"reason_low_no_tool": {"count": 4, "pass": 3, "accuracy": 0.75}}
    records = [
        normalize_one(math_v2(metadata=verified), MATH, number=number)
        if number % 2
        else normalize_one(proofs(formal_statement=f"theorem t{number} : {number} = 1"), LEAN, number=number)
        for number in range(len(texts))
    ]
    rows = [record | {"text": text} for record, text in zip(records, texts, strict=True)]
    table = pa.Table.from_pylist(rows, ROW_SCHEMA)
    folder, cut = tmp_path_factory.mktemp("rows"), len(texts) // 3
    paths = []
    # Not in alphabetical order, in which a reader might put them.
    for name, piece in (("b", table[:cut]), ("empty", table[:0]), ("a", table[cut:])):
        paths.append(folder / f"{name} 100%.parquet")
        pq.write_table(piece, paths[-1], row_group_size=ROW_GROUP)
    return paths


@pytest.fixture(scope="module")
def signatures(parts: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """What one machine makes of them, a part of a part."""
    folder = tmp_path_factory.mktemp("signatures")
    paths = [folder / f"{number}.parquet" for number in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        pq.write_table(signatures_of(pq.read_table(part)), path, row_group_size=ROW_GROUP)
    return paths


@pytest.mark.slow
def test_signatures_are_those_of_one_machine_part_by_part(
    cluster: str, parts: list[Path], signatures: list[Path]
) -> None:
    signed = list(signatures_distributed(parts, cluster))
    assert [table.num_rows for table in signed] == [pq.read_metadata(path).num_rows for path in parts]
    for table, path in zip(signed, signatures, strict=True):
        assert table.schema == SIGNATURE_SCHEMA
        assert table.equals(pq.read_table(path, schema=SIGNATURE_SCHEMA))


@pytest.mark.slow
def test_buckets_and_survivors_are_those_of_one_machine(cluster: str, texts: list[str], signatures: list[Path]) -> None:
    signed = read_signed(signatures)
    ranked = np.random.default_rng(0).permutation(len(texts))[: len(texts) * 9 // 10]  # not everybody takes part
    uids = pa.concat_arrays(pq.read_table(signatures, columns=["record_uid"])["record_uid"].chunks).take(ranked)
    expected = buckets_of(signed.minhash, ranked, BANDING, 1, signed.must_agree(True))
    must_agree = signed.must_agree(True)
    shared = buckets_distributed(signatures, uids, must_agree[ranked], BANDING, cluster)
    assert np.array_equal(shared.of_rank, expected.of_rank)
    assert (shared.count, shared.largest) == (expected.count, expected.largest)

    column = texts_of(pa.array(texts))
    twins = np.array([first_of([texts[row] for row in ranked])])
    rows = Rows(signed, np.ones(len(texts), np.bool_), ranked, twins)

    def survivors(buckets: Buckets) -> list[int]:
        found = near_duplicates(rows, buckets, 0.8, lambda one, other: similarity(column, one, other))
        survivor: list[int] = found.survivor.tolist()
        return survivor

    assert survivors(shared) == survivors(expected)
    assert sum(survivor >= 0 for survivor in survivors(shared)) > len(texts) // 4


@pytest.mark.slow
def test_rows_that_resemble_nobody_have_no_bucket(cluster: str, signatures: list[Path]) -> None:
    alone = pq.read_table(signatures[0], columns=["record_uid"])["record_uid"].combine_chunks()[:1]
    buckets = buckets_distributed(signatures, alone, np.zeros(1, np.uint64), BANDING, cluster)
    assert (buckets.count, buckets.largest) == (0, 1)
    assert np.array_equal(buckets.of_rank, np.full((1, BANDING.bands), -1))


@pytest.mark.slow
def test_an_address_where_no_cluster_answers_is_told_at_once() -> None:
    require_ray()
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    # In a process of its own: this one may be connected already.
    code = f"from nemo_assets.dedup.distributed import _connected\n_connected({address!r})"
    refused = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert f"UserError: RAY_ADDRESS={address}: no Ray cluster answers there" in refused.stderr


def test_without_daft_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "daft", None)  # what an import finds where it is not installed
    with pytest.raises(UserError, match=r"pip install 'nemo_assets\[ray\]'"):
        next(signatures_distributed([]))


def test_nothing_is_imported_before_it_is_needed() -> None:
    code = "import sys, nemo_assets.dedup.distributed\nassert not {'daft', 'ray'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
