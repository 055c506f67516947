"""Scores against plain forward passes of transformers, one row at a time, labels -100 outside the loss."""

from __future__ import annotations

import dataclasses
import math
import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nemo_assets_tests.scoring.texts import conversation, made_up_rows, message, score_input, sentence

torch = pytest.importorskip("torch", reason="scoring tests need PyTorch: pip install -e '.[score]'")

from nemo_assets.harmony.identity import sha1_text_id  # noqa: E402
from nemo_assets.harmony.spans import loss_spans_of_text  # noqa: E402
from nemo_assets.scoring.engine import ScoringError  # noqa: E402
from nemo_assets.scoring.nll import score_rows  # noqa: E402

LIMITS = {"max_length": 1024, "token_budget": 500, "batch_size": 16}


def oracle(row, loaded):
    """(nll_mean, scored tokens) of a row from transformers' own loss and the model's own attention."""
    encoded = loaded.tokenizer(row.text, add_special_tokens=False, return_offsets_mapping=True)
    spans = loss_spans_of_text(row.text, row.loss_mode, row.loss_terminators)
    labels = [
        token if at and end > start and any(a <= start < b for a, b in spans) else -100
        for at, (token, (start, end)) in enumerate(zip(encoded["input_ids"], encoded["offset_mapping"], strict=True))
    ]
    ours = loaded.model.config._attn_implementation
    loaded.model.set_attn_implementation("eager")
    try:
        with torch.inference_mode():
            loss = loaded.model(
                input_ids=torch.tensor([encoded["input_ids"]]), labels=torch.tensor([labels]), use_cache=False
            ).loss
    finally:
        loaded.model.set_attn_implementation(ours)
    return loss.item(), sum(label != -100 for label in labels)


WAYS = {
    "llama": "packed", "smollm2": "packed", "smollm3": "packed", "qwen2": "packed", "qwen3": "packed",
    "mistral": "packed", "gpt_oss": "packed",
    "opt": "packed",  # learned positions; its head hears the inner of two bodies
    "cohere": "packed",  # scales its logits after the projection
    "gemma2": "single",  # caps its logits, and its attention too
    "bloom": "single",  # attention of its own, which is not told where rows begin
}  # fmt: skip


@pytest.mark.parametrize("family", WAYS)
def test_scores_are_those_of_a_plain_forward_pass_per_row(tiny_model, family):
    loaded = tiny_model(family)
    rows = made_up_rows(24)
    scores = score_rows(rows, loaded, **LIMITS)

    assert (loaded.way, loaded.precision) == (WAYS[family], "float32")
    assert [score.id for score in scores] == [row.id for row in rows]
    for row, score in zip(rows, scores, strict=True):
        nll_mean, count = oracle(row, loaded)
        assert (score.status, score.completion_token_count, score.straddlers) == ("ok", count, 0)
        assert score.nll_mean == pytest.approx(nll_mean, abs=1e-4)
        assert score.nll_sum == pytest.approx(score.nll_mean * count)
        assert score.ppl == pytest.approx(math.exp(score.nll_mean))
        assert score.text_sha1 == sha1_text_id(row.text)
        assert not score.truncated
        assert score.reason is None


def plain_tokens(row, loaded):
    """(where it begins in the text, NLL, rank) of each scored token, from all logits of a plain forward pass."""
    encoded = loaded.tokenizer(row.text, add_special_tokens=False, return_offsets_mapping=True)
    spans = loss_spans_of_text(row.text, row.loss_mode, row.loss_terminators)
    ids = torch.tensor(encoded["input_ids"])
    with torch.inference_mode():
        logits = oracle_logits(loaded, ids).double()
    tokens = []
    for at, (begin, end) in enumerate(encoded["offset_mapping"]):
        if at and end > begin and any(a <= begin < b for a, b in spans):
            before, target = logits[at - 1], ids[at]
            nll = -torch.log_softmax(before, -1)[target].item()
            tokens.append((begin, nll, 1 + int((before > before[target]).sum())))
    return tokens


def oracle_logits(loaded, ids):
    ours = loaded.model.config._attn_implementation
    loaded.model.set_attn_implementation("eager")
    try:
        return loaded.model(input_ids=ids[None], use_cache=False).logits[0]
    finally:
        loaded.model.set_attn_implementation(ours)


def a_call_and_an_answer():
    """A row with reasoning, a preamble, a tool call with emoji, a result and an answer."""
    return (
        message("user", "add three dogs")
        + message("assistant", "so we add", "analysis")
        + message("assistant", "one moment", "commentary")
        + '<|start|>assistant to=functions.add<|channel|>commentary json<|message|>{"n": "👩‍🚀"}<|call|>'
        + message("functions.add to=assistant", "4", "commentary")
        + message("assistant", "naïve proof ends 👩‍🚀", "final", "<|return|>")
    )


@pytest.mark.parametrize("family", ["llama", "gpt_oss", "bloom", "gemma2"])
def test_every_column_against_all_logits_of_a_plain_forward_pass(tiny_model, family):
    loaded = tiny_model(family)
    text = a_call_and_an_answer()
    row = dataclasses.replace(score_input("a", text), keep_tokens=True)
    other = made_up_rows(1)[0]
    score, plain = score_rows([row, other], loaded, **LIMITS)
    tokens = plain_tokens(row, loaded)
    nlls = np.array([nll for _, nll, _ in tokens])
    assert score.token_begins == tuple(begin for begin, _, _ in tokens)
    assert score.token_nlls == pytest.approx(nlls, abs=1e-3)
    bodies = {name: text.index(body) for name, body in [("call", '{"n"'), ("result", "4<|end|>"), ("final", "naïve")]}
    kinds = [
        "analysis" if begin < text.index("one moment") else
        "tool_call" if bodies["call"] <= begin < bodies["result"] else "final" for begin, _, _ in tokens
    ]  # fmt: skip
    for kind in ("analysis", "tool_call", "final"):
        of_kind = nlls[[each == kind for each in kinds]]
        assert len(of_kind) > 0
        assert getattr(score, f"{kind}_token_count") == len(of_kind)
        assert getattr(score, f"{kind}_nll_sum") == pytest.approx(of_kind.sum(), abs=1e-3)
    said = ["so we add", "one moment", '{"n": "👩‍🚀"}', "naïve proof ends 👩‍🚀"]
    assert score.nll_per_byte == pytest.approx(nlls.sum() / sum(len(body.encode()) for body in said), abs=1e-4)
    assert score.nll_mean == pytest.approx(nlls.mean(), abs=1e-4)
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)):
        assert getattr(score, f"token_nll_{name}") == pytest.approx(np.quantile(nlls, share), abs=1e-3)
    assert score.share_above_2_nats == np.mean(nlls > 2)
    assert score.share_above_5_nats == np.mean(nlls > 5)
    assert score.rank_mean_clipped == pytest.approx(np.mean([min(rank, 100) for _, _, rank in tokens]), abs=0.05)
    assert (score.mask_sha1, score.tokenizer_sha256, score.max_length) == (row.mask_sha1, loaded.tokenizer_sha256, 1024)
    assert (plain.token_begins, plain.token_nlls) == (None, None)


def test_the_first_512_tokens_are_a_mean_of_their_own(tiny_model):
    loaded = tiny_model("llama")
    words = random.Random(4)
    row = dataclasses.replace(
        score_input("a", conversation("why ?", sentence(words, 500), sentence(words, 100))), keep_tokens=True
    )
    (score,) = score_rows([row], loaded, **LIMITS)
    assert score.completion_token_count > 512
    assert score.nll_mean_first_512 == pytest.approx(np.mean(score.token_nlls[:512]))
    assert score.nll_mean_first_512 != pytest.approx(score.nll_mean, abs=1e-4)


@pytest.mark.parametrize("family", ["llama", "gpt_oss"])
def test_scores_do_not_depend_on_order_or_company(tiny_model, family):
    loaded = tiny_model(family)
    rows = made_up_rows(24)
    together = {score.id: score.nll_mean for score in score_rows(rows, loaded, **LIMITS)}
    shuffled = random.Random(5).sample(rows, len(rows))
    reordered = {score.id: score.nll_mean for score in score_rows(shuffled, loaded, **LIMITS)}
    assert reordered == together  # the plan is the same, so every bit is

    alone = {row.id: score_rows([row], loaded, **LIMITS)[0].nll_mean for row in rows}
    assert alone == pytest.approx(together, abs=1e-6, rel=0)
    for gone in (0, 7, 23):
        left = score_rows(rows[:gone] + rows[gone + 1 :], loaded, **LIMITS)
        assert {score.id: score.nll_mean for score in left} == pytest.approx(
            {name: nll for name, nll in together.items() if name != rows[gone].id}, abs=1e-6, rel=0
        )


@pytest.mark.parametrize("limits", [(4_000, 64), (120, 16), (500, 1)])
def test_scores_do_not_depend_on_the_plan_of_passes(tiny_model, limits):
    rows = made_up_rows(24)
    plain, planned = (
        [score.nll_mean for score in score_rows(rows, tiny_model("gpt_oss"), max_length=1024, **plan)]
        for plan in (
            {"token_budget": 500, "batch_size": 16},
            dict(zip(("token_budget", "batch_size"), limits, strict=True)),
        )
    )
    assert planned == pytest.approx(plain, abs=1e-6, rel=0)


HEADERS = ("assistant<|channel|>analysis", "assistant<|channel|>final", "assistant<|channel|>commentary",
           "assistant to=functions.a<|channel|>analysis", "assistant<|channel|>commentary to=functions.a json",
           "user", "tool", "assistant")  # fmt: skip


@given(
    st.lists(
        st.tuples(
            st.sampled_from(HEADERS),
            st.text(st.sampled_from("ab é👩‍🚀🏽\n"), max_size=8),
            st.sampled_from(["<|end|>", "<|call|>", "<|return|>", ""]),
        ),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from(["assistant_all", "assistant_last", "assistant_sampled"]),
    st.booleans(),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_kinds_and_tokens_add_up_to_the_row(tiny_model, messages, loss_mode, terminators):
    text = "".join(f"<|start|>{header}<|message|>{body}{end}" for header, body, end in messages)
    row = dataclasses.replace(score_input("a", text, loss_mode, terminators), keep_tokens=True)
    (score,) = score_rows([row], tiny_model("llama"), **LIMITS)
    counts = [getattr(score, f"{kind}_token_count") for kind in ("analysis", "tool_call", "final")]
    sums = [getattr(score, f"{kind}_nll_sum") for kind in ("analysis", "tool_call", "final")]
    assert sum(counts) == score.completion_token_count
    assert [count == 0 for count in counts] == [part is None for part in sums]
    if score.nll_sum is None:
        assert (score.status, sum(counts), score.token_nlls) == ("no_scored_tokens", 0, None)
        return
    spans = loss_spans_of_text(text, loss_mode, terminators)
    assert sum(part or 0.0 for part in sums) == pytest.approx(score.nll_sum)
    assert math.fsum(score.token_nlls) == pytest.approx(score.nll_sum)
    assert len(score.token_begins) == len(score.token_nlls) == score.completion_token_count
    assert set(score.token_begins) <= {at for span in spans for at in range(*span)}
    assert score.nll_per_byte * sum(len(text[a:b].encode()) for a, b in spans) == pytest.approx(score.nll_sum)


@pytest.mark.parametrize("family", ["llama", "gpt_oss"])
def test_a_changed_prompt_changes_its_own_row_and_no_other(tiny_model, family):
    loaded = tiny_model(family)
    rows = made_up_rows(8)
    changed = score_input("row-3", rows[3].text.replace("<|message|>", "<|message|>two ", 1), rows[3].loss_mode)
    before = score_rows(rows, loaded, **LIMITS)
    after = score_rows([*rows[:3], changed, *rows[4:]], loaded, **LIMITS)
    moved = [abs(a.nll_mean - b.nll_mean) for a, b in zip(before, after, strict=True)]
    assert moved[3] > 1e-3
    assert max(moved[:3] + moved[4:]) < 1e-6


def test_the_mask_decides_what_is_scored(tiny_model):
    loaded = tiny_model("llama")
    text = conversation("why ?", "so we add", "two") + conversation("and then ?", "we add", "three dogs")
    everything, last, ended = (
        score_rows([row], loaded, **LIMITS)[0]
        for row in (
            score_input("a", text, "assistant_all"),
            score_input("b", text, "assistant_last"),
            score_input("c", text, "assistant_all", loss_terminators=True),
        )
    )
    assert 0 < last.completion_token_count < everything.completion_token_count
    assert ended.completion_token_count == everything.completion_token_count + 4  # four assistant messages
    tokens = len(loaded.tokenizer(text)["input_ids"])
    assert {score.completion_token_count + score.prompt_token_count for score in (everything, last, ended)} == {tokens}


def test_a_row_whose_text_does_not_give_its_mask_is_refused(tiny_model):
    loaded = tiny_model("llama")
    good, other = made_up_rows(2)
    bad = dataclasses.replace(good, id="bad", mask_sha1=other.mask_sha1)
    score, refused = score_rows([good, bad], loaded, **LIMITS)
    assert score.status == "ok"
    assert (refused.status, refused.nll_mean, refused.nll_sum, refused.ppl) == ("mask_mismatch", None, None, None)
    assert refused.completion_token_count == 0
    assert good.mask_sha1 in refused.reason
    assert other.mask_sha1 in refused.reason


def test_a_row_without_scored_tokens_has_no_nll(tiny_model):
    score = score_rows([score_input("a", message("user", "hello"))], tiny_model("llama"), **LIMITS)[0]
    assert (score.status, score.nll_mean, score.nll_sum, score.ppl) == ("no_scored_tokens", None, None, None)
    assert score.completion_token_count == 0


def test_context_is_dropped_from_the_left_at_a_message(tiny_model):
    loaded = tiny_model("llama")
    words = random.Random(2)
    kept = conversation("and then ?", "we add", "three dogs")
    long = "".join(message("user", sentence(words, 20) + " 👩‍🚀") for _ in range(3)) + kept
    room = len(loaded.tokenizer(kept)["input_ids"])

    row = dataclasses.replace(score_input("a", long), keep_tokens=True)
    (score,) = score_rows([row], loaded, max_length=room, token_budget=500, batch_size=4)
    (expected,) = score_rows([score_input("b", kept)], loaded, **LIMITS)
    (whole,) = score_rows([row], loaded, **LIMITS)
    assert (score.truncated, whole.truncated) == (True, False)
    assert score.token_begins == whole.token_begins  # in the text as it is, not as it was cut
    assert score.nll_sum == pytest.approx(expected.nll_sum, abs=1e-4)
    assert score.completion_token_count == expected.completion_token_count
    assert score.prompt_token_count + score.completion_token_count <= room


def test_the_terminator_after_the_last_scored_token_gives_way_before_any_context(tiny_model):
    loaded = tiny_model("llama")
    row = score_input("a", conversation("and then ?", "we add", "three dogs"))
    room = len(loaded.tokenizer(row.text)["input_ids"]) - 1
    (score,) = score_rows([row], loaded, max_length=room, token_budget=500, batch_size=4)
    (whole,) = score_rows([row], loaded, **LIMITS)
    assert not score.truncated
    assert score.nll_sum == pytest.approx(whole.nll_sum, abs=1e-4)


def test_a_completion_beyond_max_length_is_not_scored(tiny_model):
    row = score_input("a", conversation("and then ?", "we add", "three dogs"))
    (score,) = score_rows([row], tiny_model("llama"), max_length=12, token_budget=500, batch_size=4)
    assert (score.status, score.nll_mean, score.completion_token_count) == ("too_long", None, 0)
    assert "12 tokens" in score.reason


def test_a_bos_the_tokenizer_adds_is_context(tiny_model):
    loaded = tiny_model("llama")
    bos = loaded.tokenizer.convert_tokens_to_ids("<|endoftext|>")
    with_bos = dataclasses.replace(loaded, prefix_ids=(bos,))
    rows = made_up_rows(3)
    for plain, prefixed in zip(score_rows(rows, loaded, **LIMITS), score_rows(rows, with_bos, **LIMITS), strict=True):
        assert prefixed.completion_token_count == plain.completion_token_count
        assert prefixed.prompt_token_count == plain.prompt_token_count + 1
        assert prefixed.nll_sum != pytest.approx(plain.nll_sum, abs=1e-4)


def test_a_model_that_gives_no_number_is_an_error(tiny_model_directory):
    from nemo_assets.scoring.model import load_checkpoint

    broken = load_checkpoint(str(tiny_model_directory("llama")), None, "cpu")
    with torch.no_grad():
        broken.model.get_output_embeddings().weight.fill_(math.nan)
    with pytest.raises(ScoringError, match="row-0 an NLL of nan"):
        score_rows(made_up_rows(1), broken, **LIMITS)
