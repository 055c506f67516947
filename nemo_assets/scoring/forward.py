"""From token ids to what a model thought of the scored tokens.

Belongs here: the ways through a model, the projection onto the vocabulary, the probe that decides between the ways.
Does not: text, masks, truncation (`nll`), loading (`model`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from nemo_assets.errors import UserError
from nemo_assets.scoring import attention

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

Way = Literal["packed", "single"]
"""How rows go through a model: packed end to end (fast), or one by one on its own attention (slow). Both are exact."""

LOGITS_BYTES = {"cpu": 128 << 20, "cuda": 512 << 20}
"""Float32 logits that the head gives at once. Bytes, not tokens: neither vocabulary nor length decides the memory."""

MEASURED_BYTES = {"cpu": 1 << 20, "cuda": 256 << 20}
"""Logits that are measured at once: on a CPU what stays in its cache takes half the time."""

PROBE_TOLERANCE_FP32 = 1e-3
PROBE_TOLERANCE_LOW_PRECISION = 0.1
"""Nats per token of a row. Rows that see each other differ by 0.25 and more; bfloat16 noise stays below 0.03."""

PROBE_LONGEST_WINDOW = 1024
"""Sliding windows up to this many tokens are exercised by the probe."""


@dataclass(frozen=True)
class TokenRow:
    """Token ids as the model gets them, and the ascending positions (each at least 1) whose NLL is wanted."""

    ids: Ints
    positions: Ints


class TokenScores(NamedTuple):
    """One number per scored token: NLL in nats; rank among all logits, 1 where none is strictly larger."""

    nlls: Floats
    ranks: Floats


@torch.inference_mode()
def packed_scores(model: Any, rows: Sequence[TokenRow]) -> list[TokenScores]:
    """The scored tokens of every row, from one forward pass over the rows laid end to end.

    The model must run on `attention.NAME`.
    """
    ids = torch.from_numpy(np.concatenate([row.ids for row in rows])).to(model.device)
    places = torch.from_numpy(np.concatenate([np.arange(len(row.ids)) for row in rows])).to(model.device)
    boundaries = np.cumsum([0, *(len(row.ids) for row in rows)])
    cu_seq_lens = torch.from_numpy(boundaries.astype(np.int32)).to(model.device)
    longest = max(len(row.ids) for row in rows)
    states = _body(model)(
        input_ids=ids[None],
        position_ids=places[None],
        use_cache=False,  # with a cache transformers ignores the packing
        cu_seq_lens_q=cu_seq_lens,
        cu_seq_lens_k=cu_seq_lens,
        max_length_q=longest,
        max_length_k=longest,
    )
    positions = np.concatenate([begin + row.positions for begin, row in zip(boundaries[:-1], rows, strict=True)])
    found = _project(model, ids, states, torch.from_numpy(positions).to(model.device))
    cuts = np.cumsum([len(row.positions) for row in rows])[:-1]
    return [TokenScores(*parts) for parts in zip(*(np.split(each, cuts) for each in found), strict=True)]


@torch.inference_mode()
def single_scores(model: Any, row: TokenRow) -> TokenScores:
    """The scored tokens of one row, from the model's own attention."""
    ids = torch.from_numpy(row.ids).to(model.device)
    states = _body(model)(input_ids=ids[None], use_cache=False)
    return _project(model, ids, states, torch.from_numpy(row.positions).to(model.device))


@torch.inference_mode()
def plain_scores(model: Any, row: TokenRow) -> TokenScores:
    """The same from the forward pass as it is, with the logits of all tokens: what the other ways are tried by."""
    ids, positions = torch.from_numpy(row.ids).to(model.device), torch.from_numpy(row.positions).to(model.device)
    logits = model(input_ids=ids[None], use_cache=False).logits[0]
    measured = _unmeasured(positions)
    _measure(logits[positions - 1], ids[positions], measured)
    return _on_host(measured)


def _body(model: Any) -> Any:
    """The part of the model that turns tokens into hidden states, and that its forward pass calls before its head."""
    decoder = model.get_decoder()
    return getattr(model, "model", model) if decoder is model else decoder


def _project(model: Any, ids: torch.Tensor, states: Any, positions: torch.Tensor) -> TokenScores:
    """Take what the body of the model gave for `ids` through its head, only where a token is scored, some at a time.

    The model's own forward pass does it, with the body answering at once: so whatever a family does to its logits after
    the projection (scale, soft cap) is done to them.
    """
    hidden, measured = states.last_hidden_state, _unmeasured(positions)
    at_once = _at_once(LOGITS_BYTES, ids, vocabulary=model.get_output_embeddings().weight.shape[0])
    for begin in range(0, len(positions), at_once):
        chunk = positions[begin : begin + at_once]
        with _answering(_body(model), type(states)(last_hidden_state=hidden[:, chunk - 1])):
            logits = model(input_ids=ids[None, chunk - 1], use_cache=False).logits[0]
        _measure(logits, ids[chunk], measured[:, begin : begin + at_once])
    return _on_host(measured)


@contextlib.contextmanager
def _answering(body: Any, answer: Any) -> Iterator[None]:
    """Whoever calls `body` gets `answer`."""
    wrapped = vars(body).get("forward")  # there where a library that places weights has put its own
    body.forward = lambda *_, **__: answer
    try:
        yield
    finally:
        del body.forward
        if wrapped is not None:
            body.forward = wrapped


def _at_once(limits: Mapping[str, int], tensor: torch.Tensor, vocabulary: int) -> int:
    """How many tokens have logits within the limit for where `tensor` is."""
    return max(1, limits["cuda" if tensor.is_cuda else "cpu"] // (4 * vocabulary))


def _unmeasured(positions: torch.Tensor) -> torch.Tensor:
    """Room for NLL and rank of every position; one tensor that outlives all chunks, so that their memory is reused."""
    return torch.empty(2, len(positions), dtype=torch.float32, device=positions.device)


def _measure(logits: torch.Tensor, targets: torch.Tensor, measured: torch.Tensor) -> None:
    """Write NLL and rank of each target under its row of `logits`, in float32 whatever the model computes in."""
    at_once = _at_once(MEASURED_BYTES, logits, vocabulary=logits.shape[1])
    for begin in range(0, len(targets), at_once):
        some = slice(begin, begin + at_once)
        few, own = logits[some].float(), targets[some, None]
        scratch = torch.log_softmax(few, 1)
        measured[0, some] = -scratch.gather(1, own)[:, 0]
        measured[1, some] = 1 + torch.gt(few, few.gather(1, own), out=scratch).sum(1)  # whole numbers below 2 ** 24


def _on_host(measured: torch.Tensor) -> TokenScores:
    nlls, ranks = measured.double().cpu().numpy()
    return TokenScores(nlls, ranks)


def way_through(model: Any) -> Way:
    """How rows go through this model; switches it to the packed attention where they may be packed.

    Decided by trial: a few made-up rows go through the model's forward pass as it is, then both ways. Families that do
    not go through transformers' attention interface or carry state along the sequence differ when packed.

    Raises:
        UserError: not even row by row does the model give the same with its head run apart from its body.
    """
    rows = _probe_rows(model)
    plain = [plain_scores(model, row) for row in rows]
    if _body(model) is model or not _agree(model, plain, [single_scores(model, row) for row in rows]):
        raise UserError(f"a {type(model).__name__} cannot be scored: its head does not run apart from its body")
    own_attention = model.config._attn_implementation
    attention.register()
    try:
        model.set_attn_implementation(attention.NAME)
        packed = [] if getattr(model.config, "attention_chunk_size", None) else packed_scores(model, rows)
    except (attention.UnsupportedAttentionError, ValueError, TypeError, AttributeError):
        packed = []  # the family refuses another attention, or does not hand the row boundaries through
    if _agree(model, plain, packed):
        return "packed"
    model.set_attn_implementation(own_attention)
    return "single"


def _agree(model: Any, expected: Sequence[TokenScores], found: Sequence[TokenScores]) -> bool:
    low_precision = next(model.parameters()).dtype != torch.float32
    tolerance = PROBE_TOLERANCE_LOW_PRECISION if low_precision else PROBE_TOLERANCE_FP32
    return len(found) == len(expected) and all(
        abs(float(one.nlls.mean() - other.nlls.mean())) <= tolerance for one, other in zip(expected, found, strict=True)
    )


def _probe_rows(model: Any) -> list[TokenRow]:
    """Rows of fixed made-up ids; one reaches past the model's sliding window, if it is short enough to be tried."""
    window = getattr(model.config, "sliding_window", None) or 0
    lengths = [17, 40, window + 24 if 0 < window <= PROBE_LONGEST_WINDOW else 33]
    vocabulary = model.get_input_embeddings().weight.shape[0]
    return [
        TokenRow(
            ids=(np.arange(length, dtype=np.int64) * 7919 + number * 104729 + 5) % vocabulary,
            positions=np.arange(length // 2, length, dtype=np.int64),  # a head that hears part of the row stands out
        )
        for number, length in enumerate(lengths)
    ]
