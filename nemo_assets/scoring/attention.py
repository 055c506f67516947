"""Attention over rows packed end to end, without a mask and without looking across rows.

Belongs here: the attention function that transformers calls. Does not: the forward pass (`forward`).

transformers builds its packed masks from position ids only where no cache and no attention mask is in play, and some
families (gpt-oss among them) never pass the position ids on: rows then see each other, silently. This function is given
the row boundaries themselves and refuses to run without them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import torch

NAME = "nemo_varlen"

WINDOW_BLOCK = 512
"""Queries that attend to a sliding window at once on a CPU."""


class UnsupportedAttentionError(Exception):
    """The model asks attention for something this function does not do."""


def varlen_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    s_aux: torch.Tensor | None = None,
    softcap: float | None = None,
    cu_seq_lens_q: torch.Tensor | None = None,
    max_length_q: int | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention inside each packed row; the signature is the one transformers calls.

    query, key, value are (1, heads, tokens, head size). `cu_seq_lens_q` are the row boundaries, `s_aux` the attention
    sinks of gpt-oss: one more logit per head in the softmax whose weight is thrown away, which is the same as scaling
    the output by sigmoid(lse - sink).

    Raises:
        UnsupportedAttentionError: no row boundaries, a mask, dropout or a soft cap were given.
    """
    if cu_seq_lens_q is None or max_length_q is None or attention_mask is not None or query.shape[0] != 1:
        raise UnsupportedAttentionError(f"{type(module).__name__} does not pass row boundaries to its attention")
    if softcap is not None or dropout:
        raise UnsupportedAttentionError(f"{type(module).__name__} wants soft-capped attention or dropout")
    attend = _attend_on_cuda if query.is_cuda else _attend_on_cpu
    output, lse = attend(query, key, value, scaling, sliding_window, cu_seq_lens_q, max_length_q)
    if s_aux is not None:
        output = output * torch.sigmoid(lse - s_aux.float()[:, None]).T[:, :, None].to(output.dtype)
    return output.unsqueeze(0), None


def _attend_on_cuda(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scaling: float | None,
    sliding_window: int | None,
    boundaries: torch.Tensor,
    longest: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Output (tokens, heads, head size) and log-sum-exp (heads, tokens) of the flash kernel."""
    from torch.nn.attention.varlen import AuxRequest, varlen_attn

    heads, tokens = query.shape[1], query.shape[2]
    output, lse = varlen_attn(
        query[0].transpose(0, 1),
        key[0].transpose(0, 1),
        value[0].transpose(0, 1),
        boundaries,
        boundaries,
        longest,
        longest,
        scale=scaling,
        # the kernel counts the keys to the left of the query, transformers counts the query itself too
        window_size=(sliding_window - 1, 0) if sliding_window else (-1, 0),
        enable_gqa=True,
        return_aux=AuxRequest(lse=True),
    )
    # the kernel returns (heads, tokens) while its documentation says the reverse: take it as it comes
    if tuple(lse.shape) != (heads, tokens):
        lse = lse.transpose(0, 1)
    if tuple(lse.shape) != (heads, tokens):
        raise UnsupportedAttentionError(f"log-sum-exp of shape {tuple(lse.shape)} for {heads} heads, {tokens} tokens")
    return output, lse.float()


def _attend_on_cpu(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scaling: float | None,
    sliding_window: int | None,
    boundaries: torch.Tensor,
    longest: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same, one row after another."""
    queries_per_key = query.shape[1] // key.shape[1]
    if queries_per_key > 1:
        key, value = (tensor.repeat_interleave(queries_per_key, 1) for tensor in (key, value))
    pieces = [
        _attend_block(query[:, :, first:last], key[:, :, begin:last], value[:, :, begin:last], scaling, sliding_window)
        for row_begin, row_end in itertools.pairwise(boundaries.tolist())
        for first, last, begin in _blocks(row_begin, row_end, sliding_window)
    ]
    outputs, lses = zip(*pieces, strict=True)
    return torch.cat(outputs), torch.cat(lses, 1).float()


def _blocks(begin: int, end: int, sliding_window: int | None) -> Iterator[tuple[int, int, int]]:
    """Queries [first, last) of a row, and the first key that any of them sees; a mask over all of it would be square.

    Without a window, or one that the row does not outgrow, that is all of the row.
    """
    if not sliding_window or end - begin <= sliding_window:
        yield begin, end, begin
        return
    for first in range(begin, end, WINDOW_BLOCK):
        yield first, min(first + WINDOW_BLOCK, end), max(begin, first - sliding_window + 1)


def _attend_block(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float | None, sliding_window: int | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Output (tokens, heads, head size) and log-sum-exp (heads, tokens) of the last tokens of a row."""
    mask = _window_mask(query.shape[2], key.shape[2], sliding_window, query.dtype)
    output, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        *(tensor.contiguous() for tensor in (query, key, value)), 0.0, mask is None, attn_mask=mask, scale=scaling
    )
    return output[0].transpose(0, 1), lse[0] if lse.shape[1] == query.shape[1] else lse[0].transpose(0, 1)


def _window_mask(queries: int, keys: int, sliding_window: int | None, dtype: torch.dtype) -> torch.Tensor | None:
    """Additive mask of the last `queries` of `keys` tokens; None where causal attention alone says it all."""
    if queries == keys and (not sliding_window or keys <= sliding_window):
        return None
    distance = torch.arange(keys - queries, keys)[:, None] - torch.arange(keys)[None]
    visible = (distance >= 0) & (distance < (sliding_window or keys))
    return torch.where(visible, 0.0, float("-inf"))[None, None].to(dtype)


def register() -> None:
    """Make the function known to transformers under `NAME`, and tell it to build no mask for it."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, varlen_attention)
    AttentionMaskInterface.register(NAME, _no_mask)


def _no_mask(*_: Any, **__: Any) -> None:
    """The row boundaries say what the mask would."""
