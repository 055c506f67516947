"""A tiny language model for the demo, trained in seconds on the sample data.

Belongs here: tokenizer, model, training, and the marks that keep anybody from taking it for a real student. torch and
transformers are imported when it is trained.
"""

from __future__ import annotations

import hashlib
import math
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nemo_assets.progress import track
from nemo_assets.scoring.model import quiet_transformers, require_extra

NAME = "nemo-demo-student"

VOCABULARY = 2048
CONTEXT = 64
BATCH = 4
"""Many small steps: in the same seconds they reach a lower loss than few large ones."""
PEAK_LEARNING_RATE = 3e-3
WARM_UP_STEPS = 10
TRAINED_CHARACTERS = 500_000
"""More than the default number of steps sees would be tokenised for nothing."""

HARMONY_SPECIAL_TOKENS = (
    "<|start|>",
    "<|message|>",
    "<|channel|>",
    "<|constrain|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
)
END_OF_TEXT = "<|endoftext|>"

RECIPE = "1"
"""Changes with anything above or in the training: a student of another recipe is trained again."""

_README = f"""# {NAME}

A {{parameters:,}}-parameter Llama trained for {{steps}} steps on the demo's sample data. It exists so that the scoring
stages can be tried without a GPU. Its scores say nothing about any dataset. It is not a student model.
"""


def train_demo_student(texts: Sequence[str], directory: Path, *, steps: int = 300, seed: int = 0) -> Path:
    """Train the demo's student on `texts` and save it in `directory`, in Hugging Face format; returns `directory`.

    The same texts, steps and seed give the same files on the same machine; a student that was made from them is kept
    as it is. One thread; 10 to 15 seconds for the default number of steps.

    Raises:
        UserError: PyTorch or transformers is not installed.
        ValueError: there is too little text for one training window.
    """
    require_extra()
    fingerprint = _fingerprint(texts, steps, seed)
    mark = directory / "trained_on.sha256"
    if mark.is_file() and mark.read_text() == fingerprint:
        return directory
    directory.parent.mkdir(parents=True, exist_ok=True)
    unfinished = directory.with_name(f".{directory.name}.{uuid.uuid4().hex}")
    try:
        sample = _sample(texts)
        tokenizer = train_tokenizer(sample)
        model = _train_model(_token_stream(sample, tokenizer), tokenizer, steps, seed)
        model.config.made_for = NAME  # transformers drops name_or_path when it saves
        with quiet_transformers():
            model.save_pretrained(unfinished)
            tokenizer.save_pretrained(unfinished)
        (unfinished / "README.md").write_text(_README.format(parameters=model.num_parameters(), steps=steps))
        (unfinished / mark.name).write_text(fingerprint)
        if directory.exists():
            shutil.rmtree(directory)
        unfinished.replace(directory)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return directory


def _fingerprint(texts: Sequence[str], steps: int, seed: int) -> str:
    digest = hashlib.sha256(repr((RECIPE, steps, seed)).encode())
    for text in texts:
        digest.update(hashlib.sha256(text.encode()).digest())
    return digest.hexdigest()


def _sample(texts: Sequence[str]) -> list[str]:
    """Every n-th text, so that about `TRAINED_CHARACTERS` come from everywhere among them."""
    return list(texts[:: math.ceil(sum(map(len, texts)) / TRAINED_CHARACTERS) or 1])


def train_tokenizer(texts: Sequence[str]) -> Any:
    """A byte-level BPE tokenizer that knows the special tokens of Harmony, at most `VOCABULARY` entries."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END_OF_TEXT, *HARMONY_SPECIAL_TOKENS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        additional_special_tokens=list(HARMONY_SPECIAL_TOKENS),
        name_or_path=NAME,
    )


def _token_stream(texts: Sequence[str], tokenizer: Any) -> list[int]:
    stream: list[int] = []
    for text in texts:
        stream += tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        stream.append(tokenizer.eos_token_id)
    if len(stream) <= CONTEXT:
        raise ValueError(f"the texts have {len(stream)} tokens, training needs more than {CONTEXT}")
    return stream


def _train_model(stream: Sequence[int], tokenizer: Any, steps: int, seed: int) -> Any:
    """A small tied Llama after `steps` of AdamW on random windows of the stream."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums in another order would be other weights
    try:
        with torch.random.fork_rng(devices=[]), track("training the demo student", steps, "steps") as meter:
            torch.manual_seed(seed)
            model = LlamaForCausalLM(
                LlamaConfig(
                    vocab_size=len(tokenizer),
                    hidden_size=128,
                    intermediate_size=384,
                    num_hidden_layers=4,
                    num_attention_heads=4,
                    num_key_value_heads=2,
                    max_position_embeddings=4096,
                    tie_word_embeddings=True,
                    bos_token_id=None,
                    eos_token_id=tokenizer.eos_token_id,
                    pad_token_id=tokenizer.pad_token_id,
                )
            )
            tokens = torch.tensor(stream)
            optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_LEARNING_RATE, weight_decay=0.01)
            for step in range(steps):
                for group in optimizer.param_groups:
                    group["lr"] = PEAK_LEARNING_RATE * _schedule(step, steps)
                begins = torch.randint(len(stream) - CONTEXT, (BATCH,))
                windows = torch.stack([tokens[begin : begin + CONTEXT] for begin in begins.tolist()])
                model(input_ids=windows, labels=windows, use_cache=False).loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
                meter.advance(1)
        return model.eval()
    finally:
        torch.set_num_threads(threads)


def _schedule(step: int, steps: int) -> float:
    """Linear warm-up, then a cosine down to a tenth."""
    warm = min(1.0, (step + 1) / WARM_UP_STEPS)
    return warm * (0.55 + 0.45 * math.cos(math.pi * step / max(steps, 1)))
