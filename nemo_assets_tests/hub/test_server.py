"""The test Hub behaves like the Hub where tests rely on it: seen through the real client."""

from __future__ import annotations

import pytest
from huggingface_hub import CommitOperationAdd, HfApi, get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError
from huggingface_hub.hf_api import RepoFile, RepoFolder

from nemo_assets.hub.client import Hub
from nemo_assets_tests.hub.faults import Fault
from nemo_assets_tests.hub.fixtures import RunningHub

REPO = "nvidia/Nemotron-Tiny"


def api(hub: RunningHub) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=hub.token)


def head(hub: RunningHub) -> str | None:
    return api(hub).dataset_info(REPO, expand=["sha"]).sha


def head_by_one_request(hub: RunningHub) -> str | None:
    url = hf_hub_url(REPO, ".gitattributes", repo_type="dataset", endpoint=hub.endpoint)
    return get_hf_file_metadata(url, token=hub.token, endpoint=hub.endpoint).commit_hash


def test_a_stale_head_is_seen_as_often_as_was_asked_for(hub_server: RunningHub) -> None:
    first = hub_server.store.seed(REPO, {"a.jsonl": b"1\n"})
    second = hub_server.store.seed(REPO, {"a.jsonl": b"2\n"})
    hub_server.store.lag(REPO, first, reads=2)
    assert [head(hub_server), head_by_one_request(hub_server), head(hub_server)] == [first, first, second]
    assert head_by_one_request(hub_server) == second


def test_a_stale_head_may_name_a_commit_that_was_squashed_away(hub_server: RunningHub) -> None:
    first = hub_server.store.seed(REPO, {"a.jsonl": b"1\n"})
    hub_server.store.lag(REPO, first, reads=1)
    api(hub_server).super_squash_history(REPO, repo_type="dataset")
    assert head(hub_server) == first
    with pytest.raises(RevisionNotFoundError):
        list(api(hub_server).list_repo_tree(REPO, revision=first, repo_type="dataset"))
    squashed = head(hub_server)
    assert squashed != first
    assert [commit.commit_id for commit in api(hub_server).list_repo_commits(REPO, repo_type="dataset")] == [squashed]
    [file] = api(hub_server).get_paths_info(REPO, ["a.jsonl"], repo_type="dataset")
    assert isinstance(file, RepoFile)
    assert file.size == 2


def test_a_folder_keeps_its_tree_id_until_something_in_it_changes(hub_server: RunningHub) -> None:
    def tree_ids() -> dict[str, str]:
        entries = api(hub_server).list_repo_tree(REPO, repo_type="dataset")
        return {entry.path: entry.tree_id for entry in entries if isinstance(entry, RepoFolder)}

    hub_server.store.seed(REPO, {"low/a.jsonl": b"1\n", "high/b.jsonl": b"1\n"})
    before = tree_ids()
    # `git init && mkdir low && printf '1\n' > low/a.jsonl && git add . && git ls-tree $(git write-tree)`
    assert before["low"] == "a3d1e12686dc1aaad63000176a59cb0c8604c333"
    hub_server.store.seed(REPO, {"high/b.jsonl": b"2\n"}, removed=[".gitattributes"])
    after = tree_ids()
    assert after["low"] == before["low"]
    assert after["high"] != before["high"]


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        (Fault("/resolve/", reset_after=10), "ReadError"),
        (Fault("/resolve/", drop_after=10), "RemoteProtocolError"),
        (Fault("/resolve/", truncate=10, delay=0.01), None),
    ],
)
def test_a_body_can_end_in_three_ways(hub_server: RunningHub, fault: Fault, failure: str | None) -> None:
    revision = hub_server.store.seed(REPO, {"a.jsonl": b"0123456789abcdef"})
    hub_server.wire.inject(fault)
    received, raised = b"", None
    try:
        with Hub(hub_server.endpoint, hub_server.token).stream(REPO, "a.jsonl", revision) as response:
            for chunk in response.iter_bytes(1):
                received += chunk
    except Exception as error:  # noqa: BLE001  (its very type is what is asked for)
        raised = type(error).__name__
    assert (received, raised) == (b"0123456789", failure)


def test_branches_and_tags_name_commits_also_with_a_slash(hub_server: RunningHub) -> None:
    first = hub_server.store.seed(REPO, {"a.jsonl": b"1\n"})
    second = hub_server.store.seed(REPO, {"a.jsonl": b"2\n"})
    client = api(hub_server)
    client.create_branch(REPO, branch="waiting/low", revision=first, repo_type="dataset")
    client.create_tag(REPO, tag="v/1", revision="waiting/low", repo_type="dataset")
    for create in (client.create_branch, client.create_tag):
        name = {"branch": "waiting/low"} if create == client.create_branch else {"tag": "v/1"}
        with pytest.raises(HfHubHTTPError, match="409"):
            create(REPO, repo_type="dataset", **name)
    changed = client.create_commit(
        REPO, [CommitOperationAdd("b.parquet", b"b")], commit_message="b", revision="waiting/low", repo_type="dataset"
    ).oid
    refs = client.list_repo_refs(REPO, repo_type="dataset")
    assert {ref.name: ref.target_commit for ref in refs.branches} == {"main": second, "waiting/low": changed}
    assert {ref.name: ref.target_commit for ref in refs.tags} == {"v/1": first}
    assert client.dataset_info(REPO, revision="v/1").sha == first
    hub_server.store.squash(REPO)
    files = {name: client.list_repo_files(REPO, revision=name, repo_type="dataset") for name in ("v/1", "waiting/low")}
    assert files == {"v/1": [".gitattributes", "a.jsonl"], "waiting/low": [".gitattributes", "a.jsonl", "b.parquet"]}
    client.delete_tag(REPO, tag="v/1", repo_type="dataset")
    client.delete_branch(REPO, branch="waiting/low", repo_type="dataset")
    for gone in ("v/1", "waiting/low"):
        with pytest.raises(RevisionNotFoundError):
            client.dataset_info(REPO, revision=gone)
