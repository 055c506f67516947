"""Attention over packed rows against softmax written out."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="scoring tests need PyTorch: pip install -e '.[score]'")

from nemo_assets.scoring import attention  # noqa: E402
from nemo_assets.scoring.attention import (  # noqa: E402
    UnsupportedAttentionError,
    _attend_on_cuda,
    varlen_attention,
)

HEADS, KEY_HEADS, SIZE, SCALE = 4, 2, 8, 0.3


def written_out(query, key, value, sliding_window, sinks):
    """Causal softmax attention of one row, (heads, tokens, size), with one more logit per head that is thrown away."""
    key, value = (tensor.repeat_interleave(HEADS // KEY_HEADS, 0) for tensor in (key, value))
    logits = query @ key.transpose(1, 2) * SCALE
    position = torch.arange(query.shape[1])
    distance = position[:, None] - position[None]
    logits = logits.masked_fill((distance < 0) | (distance >= sliding_window), float("-inf"))
    if sinks is not None:
        logits = torch.cat([logits, sinks[:, None, None].expand(-1, query.shape[1], 1)], -1)
    return logits.softmax(-1)[:, :, : query.shape[1]] @ value


@pytest.mark.parametrize("block", [1, 2, 5, 512])
@pytest.mark.parametrize("sliding_window", [None, 1, 5])
@pytest.mark.parametrize("with_sinks", [False, True])
def test_every_row_attends_to_itself_alone(sliding_window, with_sinks, block, monkeypatch):
    monkeypatch.setattr(attention, "WINDOW_BLOCK", block)
    torch.manual_seed(0)
    lengths = [7, 1, 12]
    query = torch.randn(1, HEADS, sum(lengths), SIZE)
    key, value = (torch.randn(1, KEY_HEADS, sum(lengths), SIZE) for _ in range(2))
    sinks = torch.randn(HEADS) if with_sinks else None
    boundaries = torch.tensor([0, 7, 8, 20], dtype=torch.int32)
    output, _ = varlen_attention(
        torch.nn.Identity(), query, key, value, None, SCALE,
        sliding_window=sliding_window, s_aux=sinks, cu_seq_lens_q=boundaries, max_length_q=12,
    )  # fmt: skip
    for begin, end in ((0, 7), (7, 8), (8, 20)):
        row = (tensor[0, :, begin:end] for tensor in (query, key, value))
        expected = written_out(*row, sliding_window or 99, sinks)
        assert torch.allclose(output[0, begin:end].transpose(0, 1), expected, atol=1e-5)


def test_without_row_boundaries_it_refuses_to_run():
    tensor = torch.zeros(1, HEADS, 3, SIZE)
    with pytest.raises(UnsupportedAttentionError, match="row boundaries"):
        varlen_attention(torch.nn.Identity(), tensor, tensor, tensor, None)


def test_the_gpu_kernel_takes_the_call_and_returns_log_sum_exp_per_head():
    # shape inference only: needs no GPU, and breaks when the kernel's interface moves
    query = torch.zeros(1, HEADS, 20, SIZE, device="meta", dtype=torch.bfloat16)
    key = torch.zeros(1, KEY_HEADS, 20, SIZE, device="meta", dtype=torch.bfloat16)
    boundaries = torch.zeros(4, dtype=torch.int32, device="meta")
    output, lse = _attend_on_cuda(query, key, key, SCALE, 5, boundaries, 12)
    assert output.shape == (20, HEADS, SIZE)
    assert lse.shape == (HEADS, 20)
