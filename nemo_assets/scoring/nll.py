"""The NLL of completions: from rows of text to scores.

Belongs here: tokenising, holding the mask against the row's own digest, making a row fit, adding up. Does not: the
forward pass (`forward`), the offset rule (`harmony.mask`), the plan of passes (`packing`). Importing this module loads
torch.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nemo_assets.harmony.identity import sha1_text_id
from nemo_assets.harmony.mask import token_mask
from nemo_assets.harmony.parse import ParsedMessage, parse
from nemo_assets.harmony.spans import loss_spans, mask_sha1
from nemo_assets.scoring.engine import ScoringError
from nemo_assets.scoring.forward import TokenRow, TokenScores, packed_scores, single_scores
from nemo_assets.scoring.model import LoadedModel
from nemo_assets.scoring.packing import pack
from nemo_assets.scoring.rows import Score, ScoreInput

Ints = NDArray[np.int64]

_COUNTS = ("completion_token_count", "prompt_token_count", "straddlers")
_KINDS = ("analysis", "tool_call", "final")
"""What a scored token is part of: reasoning, a message to a recipient, anything else."""

_FIRST = 512  # scored tokens; arXiv 2308.12032 compares completions of any length, long ones condition themselves
_CLIPPED_RANK = 100  # arXiv 2601.14249


@dataclass(frozen=True)
class _Tokenised:
    """A row as tokens. `scored` are the positions of scored tokens, `begins` where they begin in the text, `kinds` what
    they are part of (places in `_KINDS`), `message_starts` the positions where a message begins, `loss_bytes` how long
    the loss spans are.
    """

    ids: Ints
    scored: Ints
    begins: Ints
    kinds: Ints
    message_starts: Ints
    straddlers: int
    loss_bytes: int
    truncated: bool = False


def score_rows(
    rows: Sequence[ScoreInput], loaded: LoadedModel, *, max_length: int, token_budget: int, batch_size: int
) -> list[Score]:
    """One score per row, in the order given.

    A row whose text does not give its `mask_sha1` is refused (`mask_mismatch`). A row longer than `max_length` tokens
    loses whole messages from the left (`truncated`); one whose completion alone is longer is not scored (`too_long`),
    nor is one without a scored token (`no_scored_tokens`). The score of a row does not depend on the other rows beyond
    the rounding of the model's precision; the plan of passes is a function of ids and lengths alone.

    Raises:
        ScoringError: the model gives an NLL that is not a finite number.
    """
    outcomes = [_prepare(row, loaded, max_length) for row in rows]
    scores: list[Score | None] = [outcome if isinstance(outcome, Score) else None for outcome in outcomes]
    ready = [(place, outcome) for place, outcome in enumerate(outcomes) if isinstance(outcome, _Tokenised)]
    plan = pack(
        [rows[place].id for place, _ in ready],
        [len(tokens.ids) for _, tokens in ready],
        token_budget,
        batch_size if loaded.way == "packed" else 1,
    )
    for members in plan:
        together = [ready[member] for member in members]
        token_scores = _through(loaded, [TokenRow(tokens.ids, tokens.scored) for _, tokens in together])
        for (place, tokens), found in zip(together, token_scores, strict=True):
            scores[place] = _measured(rows[place], tokens, found, _blank(rows[place], loaded, max_length))
    return [score for score in scores if score is not None]


def _through(loaded: LoadedModel, rows: Sequence[TokenRow]) -> list[TokenScores]:
    if loaded.way == "packed":
        return packed_scores(loaded.model, rows)
    return [single_scores(loaded.model, row) for row in rows]


def _prepare(row: ScoreInput, loaded: LoadedModel, max_length: int) -> _Tokenised | Score:
    """The row as tokens that fit, or the score that says why there is none."""
    blank = _blank(row, loaded, max_length)
    messages = parse(row.text)
    spans = loss_spans(messages, row.loss_mode, row.loss_terminators)
    digest = mask_sha1(row.loss_mode, row.loss_terminators, spans)
    if digest != row.mask_sha1:
        reason = f"the row was written with loss mask {row.mask_sha1}, its text gives {digest}"
        return dataclasses.replace(blank, status="mask_mismatch", reason=reason)
    tokens = _tokenise(row.text, messages, spans, loaded)
    blank = dataclasses.replace(blank, straddlers=tokens.straddlers)
    if len(tokens.scored) == 0:
        reason = f"none of {len(tokens.ids)} tokens begins inside the loss mask"
        return dataclasses.replace(blank, status="no_scored_tokens", reason=reason, prompt_token_count=len(tokens.ids))
    fitting = _fit(tokens, len(loaded.prefix_ids), max_length)
    if fitting is None:
        reason = f"from its first message in the loss on, the row has more than max_length {max_length} tokens"
        return dataclasses.replace(blank, status="too_long", reason=reason)
    return fitting


def _tokenise(
    text: str, messages: Sequence[ParsedMessage], spans: Sequence[tuple[int, int]], loaded: LoadedModel
) -> _Tokenised:
    encoded = loaded.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    offsets = np.array(encoded["offset_mapping"], dtype=np.int64).reshape(-1, 2)
    prefix = len(loaded.prefix_ids)
    offsets = np.concatenate([np.zeros((prefix, 2), dtype=np.int64), offsets])
    mask = token_mask(offsets, spans)
    scored = np.flatnonzero(mask.scored)
    starts = np.array([message.start for message in messages], dtype=np.int64)
    kinds = np.array([_kind(message) for message in messages], dtype=np.int64)
    return _Tokenised(
        ids=np.array([*loaded.prefix_ids, *encoded["input_ids"]], dtype=np.int64),
        scored=scored,
        begins=offsets[scored, 0],
        kinds=kinds[np.searchsorted(starts, offsets[scored, 0], side="right") - 1],
        message_starts=prefix + np.searchsorted(offsets[prefix:, 0], starts),
        straddlers=mask.straddlers,
        loss_bytes=sum(len(text[start:end].encode()) for start, end in spans),
    )


def _kind(message: ParsedMessage) -> int:
    """The place in `_KINDS` of what a message says."""
    if message.recipient is not None:
        return _KINDS.index("tool_call")
    return _KINDS.index("analysis" if message.channel == "analysis" else "final")


def _fit(tokens: _Tokenised, prefix: int, max_length: int) -> _Tokenised | None:
    """`tokens` in at most `max_length`, None where the completion alone is longer.

    What follows the last scored token changes no score and goes first. Then messages go from the left, as few as
    possible; the tokenizer's prefix stays. Every scored token stays, with the beginning of its message.
    """
    if len(tokens.ids) <= max_length:
        return tokens
    end = int(tokens.scored[-1]) + 1
    if end <= max_length:
        return dataclasses.replace(tokens, ids=tokens.ids[:end])
    possible = [
        int(cut)
        for cut in tokens.message_starts
        if prefix < cut < tokens.scored[0] and prefix + end - cut <= max_length
    ]
    if not possible:
        return None
    cut = min(possible)
    dropped = cut - prefix
    return dataclasses.replace(
        tokens,
        ids=np.concatenate([tokens.ids[:prefix], tokens.ids[cut:end]]),
        scored=tokens.scored - dropped,
        message_starts=tokens.message_starts[tokens.message_starts >= cut] - dropped,
        truncated=True,
    )


def _measured(row: ScoreInput, tokens: _Tokenised, found: TokenScores, blank: Score) -> Score:
    nlls, count = found.nlls, len(found.nlls)
    nll_sum = float(nlls.sum())
    if not math.isfinite(nll_sum):
        raise ScoringError(f"{blank.model} gives row {row.id} an NLL of {nll_sum}: broken weights or precision")
    sums = np.bincount(tokens.kinds, nlls, len(_KINDS))
    counts = np.bincount(tokens.kinds, minlength=len(_KINDS))
    p50, p90, p99, most = (float(value) for value in np.quantile(nlls, (0.5, 0.9, 0.99, 1.0)))
    by_kind: dict[str, Any] = {}
    for kind, kind_sum, kind_count in zip(_KINDS, sums, counts, strict=True):
        by_kind |= {f"{kind}_nll_sum": float(kind_sum) if kind_count else None, f"{kind}_token_count": int(kind_count)}
    return dataclasses.replace(
        blank,
        nll_mean=nll_sum / count,
        nll_sum=nll_sum,
        ppl=_perplexity(nll_sum / count),
        nll_per_byte=nll_sum / tokens.loss_bytes,
        nll_mean_first_512=float(nlls[:_FIRST].mean()),
        **by_kind,
        token_nll_p50=p50,
        token_nll_p90=p90,
        token_nll_p99=p99,
        token_nll_max=most,
        share_above_2_nats=float((nlls > 2).mean()),
        share_above_5_nats=float((nlls > 5).mean()),
        rank_mean_clipped=float(np.minimum(found.ranks, _CLIPPED_RANK).mean()),
        completion_token_count=count,
        prompt_token_count=len(tokens.ids) - count,
        truncated=tokens.truncated,
        straddlers=tokens.straddlers,
        token_begins=tuple(tokens.begins.tolist()) if row.keep_tokens else None,
        token_nlls=tuple(nlls.tolist()) if row.keep_tokens else None,
    )


def _perplexity(nll_mean: float) -> float | None:
    """exp(nll_mean), None beyond float64: readers of the files trip over infinity."""
    try:
        return math.exp(nll_mean)
    except OverflowError:
        return None


def _blank(row: ScoreInput, loaded: LoadedModel, max_length: int) -> Score:
    """What is known before anything was measured."""
    unknown: dict[str, Any] = dict.fromkeys(field.name for field in dataclasses.fields(Score))
    known: dict[str, Any] = {
        "id": row.id, "status": "ok", "text_sha1": sha1_text_id(row.text), "mask_sha1": row.mask_sha1,
        "tokenizer_sha256": loaded.tokenizer_sha256, "model": loaded.name, "revision": loaded.revision_loaded,
        "precision": loaded.precision, "max_length": max_length, "truncated": False,
        **dict.fromkeys((*(f"{kind}_token_count" for kind in _KINDS), *_COUNTS), 0),
    }  # fmt: skip
    return Score(**(unknown | known))
