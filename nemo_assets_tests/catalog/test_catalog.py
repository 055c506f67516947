"""The bundled catalog, what a mistake in it says, and a source nobody wrote code for."""

import re
import shutil
from pathlib import Path

import pytest

from nemo_assets.catalog import CATALOG_DIR, load_catalog
from nemo_assets.errors import UserError
from nemo_assets_tests.building import CATALOG, normalize_one, science


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    shutil.copytree(CATALOG_DIR, tmp_path / "catalog")
    return tmp_path / "catalog"


def edit(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


def test_seventeen_splits_in_precedence_order():
    assert list(CATALOG.splits) == [
        "nemotron-math-v2/low",
        "nemotron-math-v2/medium",
        "nemotron-math-v2/high_part00",
        "nemotron-math-v2/high_part01",
        "nemotron-math-v2/high_part02",
        "nemotron-math-proofs-v1/lean",
        "nemotron-science-v1/MCQ",
        "nemotron-science-v1/RQA",
        "nemotron-agentic-v1/interactive_agent",
        "nemotron-agentic-v1/tool_calling",
        "nemotron-instruction-following-chat-v1/chat_if",
        "nemotron-instruction-following-chat-v1/structured_outputs",
        "nemotron-math-v2-harmony-tools/low",
        "nemotron-math-v2-harmony-tools/medium",
        "nemotron-math-v2-harmony-tools/high_part00",
        "nemotron-math-v2-harmony-tools/high_part01",
        "nemotron-math-v2-harmony-tools/high_part02",
    ]
    assert [split.position for split in CATALOG.splits.values()] == list(range(17))
    assert [key for key, split in CATALOG.splits.items() if split.key != key] == []


def test_the_rendered_source_is_not_deduplicated_against_its_origin():
    assert list(CATALOG.scopes) == ["distilled", "rendered"]
    assert CATALOG.scopes["rendered"] == tuple(CATALOG.splits)[12:]
    assert CATALOG.scopes["distilled"] == tuple(CATALOG.splits)[:12]


def test_splits_and_sources_are_found_by_name_and_a_wrong_name_shows_the_right_ones():
    assert CATALOG.split("nemotron-science-v1/RQA").repo == "nvidia/Nemotron-Science-v1"
    assert CATALOG.source("nvidia/Nemotron-Math-v2") == CATALOG.source("nemotron-math-v2")
    with pytest.raises(
        UserError, match=r"^nemotron-science-v1/rqa: .* nemotron-science-v1/MCQ, nemotron-science-v1/RQA\.$"
    ):
        CATALOG.split("nemotron-science-v1/rqa")
    with pytest.raises(UserError, match=r"^nowhere/x: .*nemotron-math-v2/low"):
        CATALOG.split("nowhere/x")
    with pytest.raises(UserError, match=r"^nvidia/Other: .*nemotron-math-v2"):
        CATALOG.source("nvidia/Other")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("domain: science", "domain: science\ncolour: red", "unknown field `colour`"),
        ("MCQ: {}", "MCQ: {efort: low}", "unknown field `efort`.*splits"),
        ("domain: science\n", "", "missing required field `domain`"),
        ("order: 30", "order: third", "Expected `int`, got `str`.*order"),
        ("identity: uuid", "identity: row", "Invalid enum value 'row'.*identity"),
        ("MCQ: {}", "MCQ: {effort: max}", "'max'.*effort"),
        ("  MCQ:", "  M-CQ:", "split 'M-CQ' may hold letters, digits and underscores only"),
        ("  MCQ:", "  Frühling:", "split 'Frühling'"),
        ("MCQ: {}", "MCQ: {files: []}", "split 'MCQ' names no file.*card"),
        ("MCQ: {}", "MCQ: {files: data/MCQ.jsonl}", r"Expected `array \| null`, got `str`.*files"),
        ("nvidia/Nemotron-Science-v1", "Nemotron-Science-v1", "repo must read <org>/<name>, not 'Nemotron-Science-v1'"),
        ("order: 30", "order: 30\ncorrectness_from: nemotron-math", "correctness_from names 'nemotron-math'"),
        ("splits:", "splits: [", "while parsing"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_file_and_the_field(directory, old, new, says):
    path = directory / "nemotron-science-v1.yaml"
    edit(path, old, new)
    with pytest.raises(UserError) as refused:
        load_catalog(directory)
    message = str(refused.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert re.search(says, message)


@pytest.mark.parametrize("name", ["Candidates", "candidates chat", "../up", "rows", "tools", "ledger"])
def test_a_pool_that_cannot_be_a_directory_is_refused(directory, name):
    edit(directory / "policies" / "pools.yaml", "candidates_chat:", f'"{name}":')
    with pytest.raises(UserError, match=re.escape(f"pools.yaml: {name!r} cannot name a pool")):
        load_catalog(directory)


def test_a_file_name_that_is_no_slug_is_refused(directory):
    (directory / "nemotron-science-v1.yaml").rename(directory / "Nemotron_Science.yaml")
    with pytest.raises(UserError, match=r"Nemotron_Science\.yaml: the file name is the dataset slug"):
        load_catalog(directory)


def test_no_evaluation_set_is_declared_unasked_and_what_is_left_out_has_its_default(directory):
    assert CATALOG.evaluation_sets == {}
    path = directory / "policies" / "evaluation_sets.yaml"
    edit(path, "evaluation_sets: {}", "evaluation_sets: {gsm8k: {repo: openai/gsm8k, files: [a], columns: [question]}}")
    declared = load_catalog(directory).evaluation_sets["gsm8k"]
    assert (declared.near, declared.id, declared.revision) == (0.8, None, None)
    actions = declared.actions
    assert (actions.verbatim, actions.near, actions.template_sibling) == ("reject", "tag", "tag")


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("exam: {columns: [q]}", "'exam' needs either `repo`.* or `path`"),
        ("exam: {columns: [q], path: a.jsonl, repo: a/b, files: [c]}", "'exam' needs either `repo`.* or `path`"),
        ("exam: {columns: [q], repo: a/b}", "'exam': .*`files` must name its files"),
        ("exam: {columns: [q], repo: b, files: [c]}", "'exam': `repo` must read <org>/<name>"),
        ("exam: {columns: [q], path: a.jsonl, files: [c]}", "'exam': `files` and `revision` belong to a `repo`"),
        ("exam: {columns: [q], repo: a/b, files: [c], revision: main}", "40 hex digits, not 'main'"),
        ("exam: {columns: [], path: a.jsonl}", "'exam': `columns` must name"),
        ("exam: {columns: [q, q], path: a.jsonl}", "'exam': `columns` must name the columns .* each once"),
        ("exam: {path: a.jsonl}", "missing required field `columns`"),
        ("exam: {columns: [q], path: a.jsonl, near: 0}", "float.*near"),
        ("exam: {columns: [q], path: a.jsonl, near: 1.5}", "float.*near"),
        ("exam: {columns: [q], path: a.jsonl, actions: {near: drop}}", "Invalid enum value 'drop'"),
        ("exam: {columns: [q], path: a.jsonl, actions: {template_sibling: reject}}", "'exam': a tier may be rejected"),
        ("exam: {columns: [q], path: a.jsonl, actions: {verbatim: tag, near: reject}}", "a tier may be rejected only"),
        ("'an:exam': {columns: [q], path: a.jsonl}", "'an:exam': use lower case letters"),
    ],
)
def test_a_mistake_in_an_evaluation_set_is_one_line(directory, entry, says):
    path = directory / "policies" / "evaluation_sets.yaml"
    edit(path, "evaluation_sets: {}", f"evaluation_sets: {{{entry}}}")
    with pytest.raises(UserError, match=says) as refused:
        load_catalog(directory)
    assert str(refused.value).startswith(f"{path}: ")
    assert "\n" not in str(refused.value)


def test_the_examples_of_evaluation_sets_are_right(directory):
    path = directory / "policies" / "evaluation_sets.yaml"
    examples = [line[2:] for line in path.read_text().splitlines() if line.startswith("#   ")]
    examples = [line for line in examples if not line.startswith(("  verbatim", "  near  ", "  template"))]
    path.write_text("\n".join(["evaluation_sets:", *examples]))
    assert list(load_catalog(directory).evaluation_sets) == ["gsm8k", "our-exam"]


def withdrawing(directory: Path, *entries: str) -> Path:
    path = directory / "policies" / "withdrawals.yaml"
    listed = "".join(f"\n- {{{entry}}}" for entry in entries)
    edit(path, "withdrawals: []", f"withdrawals:{listed}")
    return path


def test_nothing_is_withdrawn_unasked_and_the_examples_of_withdrawals_are_right(directory):
    assert CATALOG.withdrawals == ()
    path = directory / "policies" / "withdrawals.yaml"
    examples = [line[2:] for line in path.read_text().splitlines() if line.startswith("#   -")]
    path.write_text("\n".join(["withdrawals:", *examples]))
    withdrawals = load_catalog(directory).withdrawals
    assert [entry.named for entry in withdrawals] == [
        "id problem-17-0a1b2c3d4e5f",
        "id q-88 of nemotron-science-v1",
        "record_uid 00112233445566778899aabbccddeeff",
    ]
    assert [entry.note for entry in withdrawals] == ["asked for by its author", "the answer is wrong", ""]


def test_one_id_may_be_withdrawn_from_two_sources(directory):
    withdrawing(
        directory, *(f"id: a, reason: error, dataset: {slug}" for slug in ("nemotron-science-v1", "nemotron-math-v2"))
    )
    assert len(load_catalog(directory).withdrawals) == 2


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("id: b, reason: theft", "Invalid enum value 'theft'.*reason"),
        ("id: b", "missing required field `reason`"),
        ("id: 17, reason: error", r"Expected `str \| null`, got `int`.*id"),
        ("id: b, reason: error, why: x", "unknown field `why`"),
        ("reason: error", "needs an `id` or a `record_uid`"),
        ("id: '', reason: error", "needs an `id` or a `record_uid`"),
        (f"id: b, record_uid: {'c' * 32}, reason: error", "has both `id` and `record_uid`"),
        (f"record_uid: {'c' * 31}, reason: error", "32 hex digits in lower case, not 'c{31}'"),
        (f"record_uid: {'C' * 32}, reason: error", "32 hex digits in lower case"),
        (f"record_uid: {'c' * 32}, reason: error, dataset: nemotron-science-v1", "`dataset` limits an `id`"),
        ("id: b, reason: error, dataset: science", "`dataset` names 'science', which is no source here"),
        ("id: a, reason: error", "id a is withdrawn by entry 1 already"),
    ],
)
def test_a_mistake_in_a_withdrawal_names_file_and_entry(directory, entry, says):
    path = withdrawing(directory, "id: a, reason: takedown", entry)
    with pytest.raises(UserError, match=says) as refused:
        load_catalog(directory)
    assert str(refused.value).startswith(f"{path}: entry 2: ")
    assert "\n" not in str(refused.value)


def test_a_catalog_that_does_not_say_what_is_withdrawn_is_refused(directory):
    (directory / "policies" / "withdrawals.yaml").unlink()
    with pytest.raises(UserError, match=r"withdrawals\.yaml: the catalog needs this file"):
        load_catalog(directory)


def test_text_of_dropped_records_is_told_unless_the_source_forbids_it(directory):
    assert all(source.dropped_text for source in CATALOG.sources.values())
    edit(directory / "nemotron-science-v1.yaml", "order: 30", "order: 30\ndropped_text: false")
    assert not load_catalog(directory).sources["nemotron-science-v1"].dropped_text


def test_a_missing_policy_and_an_empty_directory_are_named(directory, tmp_path):
    (directory / "policies" / "pools.yaml").unlink()
    with pytest.raises(UserError, match=r"policies/pools\.yaml: the catalog needs this file"):
        load_catalog(directory)
    with pytest.raises(UserError, match="holds no YAML file"):
        load_catalog(tmp_path / "policies")


def test_a_seventh_source_is_one_file(directory):
    entry = (directory / "nemotron-science-v1.yaml").read_text()
    entry = entry.replace("nvidia/Nemotron-Science-v1", "somebody/History").replace("order: 30", "order: 35")
    entry = entry.replace("domain: science", "domain: history").replace("MCQ", "dates").replace("RQA", "wars")
    (directory / "history.yaml").write_text(entry)
    catalog = load_catalog(directory)
    assert len(catalog.splits) == 19
    assert catalog.split("nemotron-science-v1/RQA").position + 1 == catalog.split("history/dates").position
    row = normalize_one(science(), "history/dates", catalog=catalog)
    assert (row["dataset"], row["split"], row["meta_domain"], row["id"]) == (
        "somebody/History",
        "dates",
        "history",
        "science-1",
    )
    assert row["source_file"] == "data/dates.jsonl"
