"""The NLL of completions: from rows of text to scores.

Belongs here: tokenising, holding the mask against the row's own digest, making a row fit, adding up. Does not: the
forward pass (`forward`), the offset rule (`harmony.mask`), the plan of passes (`packing`). Importing this module loads
torch.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nemo_assets.harmony.identity import sha1_text_id
from nemo_assets.harmony.mask import token_mask
from nemo_assets.harmony.spans import loss_spans_of_text, mask_sha1
from nemo_assets.scoring.engine import ScoringError
from nemo_assets.scoring.forward import TokenRow, packed_nlls, single_nlls
from nemo_assets.scoring.model import LoadedModel
from nemo_assets.scoring.packing import pack
from nemo_assets.scoring.rows import Score, ScoreInput

Ints = NDArray[np.int64]

MESSAGE_START = "<|start|>"


@dataclass(frozen=True)
class _Tokenised:
    """A row as tokens. `scored` are the positions of scored tokens, `message_starts` those where a message begins."""

    ids: Ints
    scored: Ints
    message_starts: Ints
    straddlers: int
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
        batch_size if loaded.packs_rows else 1,
    )
    for members in plan:
        together = [ready[member] for member in members]
        token_rows = [TokenRow(tokens.ids, tokens.scored) for _, tokens in together]
        nlls = packed_nlls(loaded.model, token_rows) if loaded.packs_rows else [single_nlls(loaded.model, *token_rows)]
        for (place, tokens), row_nlls in zip(together, nlls, strict=True):
            scores[place] = _measured(rows[place], tokens, float(np.sum(row_nlls)), loaded)
    return [score for score in scores if score is not None]


def _prepare(row: ScoreInput, loaded: LoadedModel, max_length: int) -> _Tokenised | Score:
    """The row as tokens that fit, or the score that says why there is none."""
    blank = _blank(row, loaded)
    spans = loss_spans_of_text(row.text, row.loss_mode, row.loss_terminators)
    digest = mask_sha1(row.loss_mode, row.loss_terminators, spans)
    if digest != row.mask_sha1:
        reason = f"the row was written with loss mask {row.mask_sha1}, its text gives {digest}"
        return dataclasses.replace(blank, status="mask_mismatch", reason=reason)
    tokens = _tokenise(row.text, spans, loaded)
    blank = dataclasses.replace(blank, straddlers=tokens.straddlers)
    if len(tokens.scored) == 0:
        reason = f"none of {len(tokens.ids)} tokens begins inside the loss mask"
        return dataclasses.replace(blank, status="no_scored_tokens", reason=reason, prompt_token_count=len(tokens.ids))
    fitting = _fit(tokens, len(loaded.prefix_ids), max_length)
    if fitting is None:
        reason = f"from its first message in the loss on, the row has more than max_length {max_length} tokens"
        return dataclasses.replace(blank, status="too_long", reason=reason)
    return fitting


def _tokenise(text: str, spans: Sequence[tuple[int, int]], loaded: LoadedModel) -> _Tokenised:
    encoded = loaded.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    offsets = np.array(encoded["offset_mapping"], dtype=np.int64).reshape(-1, 2)
    prefix = len(loaded.prefix_ids)
    offsets = np.concatenate([np.zeros((prefix, 2), dtype=np.int64), offsets])
    mask = token_mask(offsets, spans)
    begins = np.array([match.start() for match in re.finditer(re.escape(MESSAGE_START), text)], dtype=np.int64)
    return _Tokenised(
        ids=np.array([*loaded.prefix_ids, *encoded["input_ids"]], dtype=np.int64),
        scored=np.flatnonzero(mask.scored),
        message_starts=prefix + np.searchsorted(offsets[prefix:, 0], begins),
        straddlers=mask.straddlers,
    )


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
    return _Tokenised(
        ids=np.concatenate([tokens.ids[:prefix], tokens.ids[cut:end]]),
        scored=tokens.scored - dropped,
        message_starts=tokens.message_starts[tokens.message_starts >= cut] - dropped,
        straddlers=tokens.straddlers,
        truncated=True,
    )


def _measured(row: ScoreInput, tokens: _Tokenised, nll_sum: float, loaded: LoadedModel) -> Score:
    if not math.isfinite(nll_sum):
        raise ScoringError(f"{loaded.name} gives row {row.id} an NLL of {nll_sum}: broken weights or precision")
    count = len(tokens.scored)
    return dataclasses.replace(
        _blank(row, loaded),
        nll_mean=nll_sum / count,
        nll_sum=nll_sum,
        ppl=_perplexity(nll_sum / count),
        completion_token_count=count,
        prompt_token_count=len(tokens.ids) - count,
        truncated=tokens.truncated,
        straddlers=tokens.straddlers,
    )


def _perplexity(nll_mean: float) -> float | None:
    """exp(nll_mean), None beyond float64: readers of the files trip over infinity."""
    try:
        return math.exp(nll_mean)
    except OverflowError:
        return None


def _blank(row: ScoreInput, loaded: LoadedModel) -> Score:
    return Score(
        id=row.id,
        nll_mean=None,
        nll_sum=None,
        ppl=None,
        completion_token_count=0,
        prompt_token_count=0,
        truncated=False,
        straddlers=0,
        status="ok",
        reason=None,
        text_sha1=sha1_text_id(row.text),
        model=loaded.name,
        revision=loaded.revision_loaded,
    )
