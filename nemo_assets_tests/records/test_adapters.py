"""What is particular to a source."""

import pytest

from nemo_assets.errors import UserError
from nemo_assets_tests.building import CATALOG, LEAN, MCQ, assistant, normalize_one, proofs, science, user, with_source

CONVERSATION = [user("Complete the following Lean 4 code"), assistant("theorem problem_7 : 1 = 1 := rfl")]


def test_a_proof_with_messages_is_that_conversation():
    row = normalize_one(proofs(messages=CONVERSATION), LEAN)
    assert (row["template"], row["meta_tags"], row["meta_problem_id"]) == ("harmony-1", ["proof"], "problem_7")
    assert "<|start|>user<|message|>Complete the following Lean 4 code<|end|>" in row["text"]
    assert "Prove that one is one." not in row["text"]


def test_a_corrected_proof_is_told_from_a_first_attempt():
    prompt = "Here is a proof attempt for the following theorem in Lean4.\n\n```lean4 x```"
    row = normalize_one(proofs(messages=[user(prompt), assistant("theorem x := rfl")]), LEAN)
    assert row["meta_tags"] == ["proof_correction"]


@pytest.mark.parametrize("none", [[], None, "[]", "", " "])
def test_a_statement_without_messages_is_a_task_of_its_own(none):
    row = normalize_one(proofs(messages=none), LEAN)
    assert (row["template"], row["meta_tags"]) == ("proofs-statement", ["statement"])
    assert row["text"].endswith("import Mathlib\n\ntheorem problem_7 : 1 = 1 := by sorry<|return|>")


@pytest.mark.parametrize("header", [None, "", "\n"])
def test_a_statement_without_lean_header_stands_alone(header):
    row = normalize_one(proofs(lean_header=header), LEAN)
    assert row["text"].endswith("<|channel|>final<|message|>theorem problem_7 : 1 = 1 := by sorry<|return|>")


@pytest.mark.parametrize("nothing", [{"formal_statement": None}, {"formal_statement": " "}, {"problem": None}])
def test_neither_messages_nor_statement_is_no_row(nothing):
    refused = normalize_one(proofs(**nothing), LEAN)
    assert (refused.code, refused.evidence["reason"]) == ("no_messages", "neither_messages_nor_formal_statement")


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("theorem problem_568570 :\n    ∃ P : Polynomial ℤ, P = 0", "problem_568570"),
        ("theorem problem_1(x : ℝ) : x = x", "problem_1"),  # a binder without a blank
        ("theorem problem_2{x : ℝ}: x = x", "problem_2"),
        ("/-- A theorem of Euler. -/\ntheorem problem_3 : 1 = 1", "problem_3"),  # comments speak of theorems
        ("lemma helper : 1 = 1 := rfl\n\ntheorem\n  problem_4 : 1 = 1", "problem_4"),
        ("lemma problem_5: 1 = 1", "problem_5"),
        ("def f := 1\naxiom g : f = 1", None),
        ("theorem ", None),
    ],
)
def test_the_problem_is_named_by_its_theorem(statement, name):
    assert normalize_one(proofs(formal_statement=statement), LEAN)["meta_problem_id"] == name


def test_a_template_or_adapter_nobody_wrote_is_the_catalog_s_fault_and_not_the_record_s():
    with pytest.raises(UserError, match=r"nemotron-science-v1\.yaml: no template 'harmony-9'.*harmony-1"):
        normalize_one(science(), MCQ, catalog=with_source("nemotron-science-v1", template="harmony-9"))
    with pytest.raises(UserError, match=r"nemotron-science-v1\.yaml: no adapter 'chats'.*chat_messages"):
        normalize_one(science(), MCQ, catalog=with_source("nemotron-science-v1", adapter="chats"))


def test_every_adapter_of_the_catalog_is_there():
    assert {source.adapter for source in CATALOG.sources.values()} == {
        "math_v2", "math_proofs", "chat_messages", "rendered_text",
    }  # fmt: skip
