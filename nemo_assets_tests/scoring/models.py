"""Tiny random models with a tokenizer that knows the Harmony special tokens, saved in Hugging Face format."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GptOssConfig,
    GptOssForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    SmolLM3Config,
    SmolLM3ForCausalLM,
)

from nemo_assets.scoring.demo_student import train_tokenizer
from nemo_assets_tests.scoring.texts import conversation, sentence

torch.set_num_threads(1)


def save_tiny_model(family: str, directory: Path) -> Path:
    """A model whose next-token distributions are far from uniform, so that what it attends to shows in its NLL."""
    words = random.Random(1)
    tokenizer = train_tokenizer([conversation(*(sentence(words, 40) for _ in range(3))) for _ in range(20)])
    model = random_model(family, len(tokenizer))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "sinks" in name:
                parameter.normal_(0, 2)
            elif parameter.dim() > 1:
                parameter.mul_(8)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def random_model(family: str, vocabulary: int) -> Any:
    """The same random weights every time."""
    torch.manual_seed(0)
    return _FAMILIES[family](vocabulary)


def _llama(vocabulary: int) -> Any:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=1024,
        )
    )


def _gpt_oss(vocabulary: int) -> Any:
    """With sinks, a sliding window shorter than the rows, and a mixture of experts."""
    return GptOssForCausalLM(
        GptOssConfig(
            vocab_size=vocabulary,
            hidden_size=64,
            intermediate_size=64,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=16,
            num_local_experts=4,
            num_experts_per_tok=2,
            sliding_window=16,
            max_position_embeddings=1024,
            layer_types=["sliding_attention", "full_attention"] * 2,
        )
    )


def _bloom(vocabulary: int) -> Any:
    """A family with its own attention, which cannot be told where rows begin."""
    return BloomForCausalLM(BloomConfig(vocab_size=vocabulary, hidden_size=64, n_layer=2, n_head=4))


def _small(config: Any, model: Any, **special: Any) -> Callable[[int], Any]:
    """Any other family in the size of the tiny Llama."""

    def make(vocabulary: int) -> Any:
        return model(
            config(
                vocab_size=vocabulary, hidden_size=64, intermediate_size=128, num_hidden_layers=3,
                num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=1024, pad_token_id=0,
                bos_token_id=0, eos_token_id=0, **special,
            )
        )  # fmt: skip

    return make


_FAMILIES = {
    "llama": _llama,
    "gpt_oss": _gpt_oss,
    "bloom": _bloom,
    "smollm2": _small(LlamaConfig, LlamaForCausalLM, tie_word_embeddings=True),
    "smollm3": _small(SmolLM3Config, SmolLM3ForCausalLM, no_rope_layer_interval=2),
    "qwen2": _small(Qwen2Config, Qwen2ForCausalLM),
    "qwen3": _small(Qwen3Config, Qwen3ForCausalLM, head_dim=16),
    "mistral": _small(MistralConfig, MistralForCausalLM, sliding_window=16),
    "opt": _small(OPTConfig, OPTForCausalLM, ffn_dim=64, word_embed_proj_dim=64),
    "cohere": _small(CohereConfig, CohereForCausalLM, logit_scale=0.3),
    "gemma2": _small(Gemma2Config, Gemma2ForCausalLM, head_dim=16, sliding_window=16),
}
