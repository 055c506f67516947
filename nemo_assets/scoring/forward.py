"""From token ids to the NLL of the scored tokens.

Belongs here: the two ways through a model (rows packed together, rows one by one) and the probe that decides between
them. Does not: text, masks, truncation (`nll`), loading (`model`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nemo_assets.scoring import attention

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

LOGITS_CHUNK = 1024
"""Scored positions projected onto the vocabulary at once: 1024 x 201,088 float32 logits are 0.8 GB."""

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


@torch.inference_mode()
def packed_nlls(model: Any, rows: Sequence[TokenRow]) -> list[Floats]:
    """NLL of the scored tokens of every row, in nats, from one forward pass over the rows laid end to end.

    The model must run on `attention.NAME`. Hidden states are projected onto the vocabulary only where a token is
    scored; the log-sum-exp is taken in float32.
    """
    ids = torch.from_numpy(np.concatenate([row.ids for row in rows])).to(model.device)
    places = torch.from_numpy(np.concatenate([np.arange(len(row.ids)) for row in rows])).to(model.device)
    boundaries = np.cumsum([0, *(len(row.ids) for row in rows)])
    cu_seq_lens = torch.from_numpy(boundaries.astype(np.int32)).to(model.device)
    longest = max(len(row.ids) for row in rows)
    hidden = model.base_model(
        input_ids=ids[None],
        position_ids=places[None],
        use_cache=False,  # with a cache transformers ignores the packing
        cu_seq_lens_q=cu_seq_lens,
        cu_seq_lens_k=cu_seq_lens,
        max_length_q=longest,
        max_length_k=longest,
    ).last_hidden_state[0]
    scored = np.concatenate([begin + row.positions for begin, row in zip(boundaries[:-1], rows, strict=True)])
    positions = torch.from_numpy(scored).to(model.device)
    head = model.get_output_embeddings()
    nlls = torch.cat([_nll(head(hidden[chunk - 1]), ids[chunk]) for chunk in torch.split(positions, LOGITS_CHUNK)])
    return np.split(nlls.double().cpu().numpy(), np.cumsum([len(row.positions) for row in rows])[:-1])


@torch.inference_mode()
def single_nlls(model: Any, row: TokenRow) -> Floats:
    """NLL of the scored tokens of one row, in nats, from the model's own forward pass and attention."""
    ids = torch.from_numpy(row.ids).to(model.device)
    positions = torch.from_numpy(row.positions).to(model.device)
    logits = model(input_ids=ids[None], use_cache=False, logits_to_keep=positions - 1).logits[0]
    nlls = [_nll(part, ids[chunk]) for part, chunk in _chunks(logits, positions)]
    return torch.cat(nlls).double().cpu().numpy()


def _chunks(logits: torch.Tensor, positions: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(zip(torch.split(logits, LOGITS_CHUNK), torch.split(positions, LOGITS_CHUNK), strict=True))


def _nll(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    logits = logits.float()
    return torch.logsumexp(logits, -1) - logits.gather(1, targets[:, None])[:, 0]


def packs_rows(model: Any) -> bool:
    """Whether rows may be packed for this model; switches it to the packed attention where they may.

    Decided by trial: a few made-up rows are scored one by one with the model's own attention, then packed. Families
    that do not go through transformers' attention interface, carry state along the sequence, or shape their logits
    after the projection differ there, and are scored row by row on their own attention instead.
    """
    rows = _probe_rows(model)
    alone = [single_nlls(model, row) for row in rows]
    own_attention = model.config._attn_implementation
    low_precision = next(model.parameters()).dtype != torch.float32
    tolerance = PROBE_TOLERANCE_LOW_PRECISION if low_precision else PROBE_TOLERANCE_FP32
    attention.register()
    try:
        model.set_attn_implementation(attention.NAME)
        packed = packed_nlls(model, rows)
    except (attention.UnsupportedAttentionError, ValueError, TypeError, AttributeError):
        packed = []  # the family refuses another attention, or does not hand the row boundaries through
    agree = len(packed) == len(alone) and all(
        abs(float(together.mean() - single.mean())) <= tolerance for together, single in zip(packed, alone, strict=True)
    )
    if not agree or getattr(model.config, "attention_chunk_size", None):
        model.set_attn_implementation(own_attention)
        return False
    return True


def _probe_rows(model: Any) -> list[TokenRow]:
    """Rows of fixed made-up ids; one reaches past the model's sliding window, if it is short enough to be tried."""
    window = getattr(model.config, "sliding_window", None) or 0
    lengths = [17, 40, window + 24 if 0 < window <= PROBE_LONGEST_WINDOW else 33]
    vocabulary = model.get_input_embeddings().weight.shape[0]
    return [
        TokenRow(
            ids=(np.arange(length, dtype=np.int64) * 7919 + number * 104729 + 5) % vocabulary,
            positions=np.arange(1, length, dtype=np.int64),
        )
        for number, length in enumerate(lengths)
    ]
