"""What is wrong or odd in the Parquet files of the sample, and where.

Belongs here: planting rows of ready-made text. Does not: the renderer and its dialects (`rendered`).
"""

from __future__ import annotations

import random
from collections.abc import Callable

from nemo_assets.sample.planting import changed_words
from nemo_assets.sample.rendered import effort_of
from nemo_assets.sample.tree import REJECTED, REMOVED, Entry, Planted, SourceFile

USER = "<|start|>user<|message|>"
FINAL = "<|start|>assistant<|channel|>final<|message|>"
RETURN = "<|return|>"


def prompt_of(text: str) -> str:
    return text[: text.index("<|start|>assistant")]


def in_final(text: str, change: Callable[[str], str]) -> str:
    """The text with the body of its final message changed."""
    head, final, body = text.rpartition(FINAL)
    return head + final + change(body.removesuffix(RETURN)) + RETURN


# split, kind, code or None where the row is kept, change
CHANGES: tuple[tuple[str, str, str | None, Callable[[str], str | None]], ...] = (
    ("low", "stray_end", "invalid_harmony", lambda text: text.replace(USER, f"<|end|>{USER}")),
    ("medium", "cut_inside_terminator", "invalid_harmony", lambda text: text[:-4]),
    ("medium", "final_without_terminator", "invalid_harmony", lambda text: text.removesuffix(RETURN)),
    ("high_part00", "header_without_message", "invalid_harmony", lambda text: text.replace(USER, "<|start|>user")),
    ("high_part01", "role_missing", "invalid_harmony", lambda text: text.replace(USER, "<|start|><|message|>")),
    (
        "high_part02",
        "start_missing",
        "invalid_harmony",
        lambda text: text.replace(FINAL, FINAL.removeprefix("<|start|>")),
    ),
    ("low", "junk_between_messages", "invalid_harmony", lambda text: text.replace(USER, f"\nnote to self\n{USER}")),
    (
        "low",
        "special_token_in_final",
        "special_token_in_content",
        lambda text: in_final(text, lambda body: f"{body}<|endoftext|>"),
    ),
    ("high_part01", "assistant_missing", "empty_completion", prompt_of),
    ("high_part02", "final_without_body", "empty_completion", lambda text: f"{prompt_of(text)}{FINAL}{RETURN}"),
    ("medium", "final_of_blanks", "empty_completion", lambda text: f"{prompt_of(text)}{FINAL} \n {RETURN}"),
    ("high_part02", "null_text", "no_messages", lambda text: None),
    ("high_part02", "nul_character", None, lambda text: in_final(text, lambda body: f"\x00{body}")),
)


def plant(seed: int, files: list[SourceFile]) -> None:
    """Put every planted row into the Parquet files."""
    rng = random.Random(f"{seed}/rendered-defects")
    claimed: set[int] = set()
    for split, kind, code, change in CHANGES:
        _, entry = claim(rng, files, split, claimed)
        entry.body = change(str(entry.body))
        entry.planted = Planted(kind, REJECTED if code else "kept", code)
        entry.rendered_from = None
    for split in ("low", "medium"):
        shard, original = claim(rng, files, split, claimed)
        insert_copy(rng, shard, original, str(original.body), "exact_duplicate_text", "exact_duplicate")
    _, original = claim(rng, files, "low", claimed)
    shard, _ = claim(rng, files, "medium", claimed)
    other_prompt = str(original.body).replace(f"Reasoning: {effort_of('low')}", f"Reasoning: {effort_of('medium')}")
    insert_copy(rng, shard, original, other_prompt, "exact_duplicate_across_splits", "exact_duplicate")
    shard, original = claim(rng, files, "high_part02", claimed)
    nearly = in_final(str(original.body), lambda body: changed_words(rng, body))
    insert_copy(rng, shard, original, nearly, "near_duplicate", "near_duplicate")


def claim(rng: random.Random, files: list[SourceFile], split: str, claimed: set[int]) -> tuple[SourceFile, Entry]:
    """A sound row of the split that is not too long and not used by another defect, with its file."""
    free = [
        (file, entry)
        for file in files
        if file.split == split
        for entry in file.entries
        if entry.is_sound and id(entry) not in claimed and len(str(entry.body)) < 6_000
    ]
    file, entry = rng.choice(free)
    claimed.add(id(entry))
    return file, entry


def insert_copy(rng: random.Random, file: SourceFile, original: Entry, text: str, kind: str, code: str) -> None:
    """Insert a duplicate, behind its original where both are in one file."""
    first = file.entries.index(original) + 1 if original in file.entries else 0
    file.entries.insert(rng.randint(first, len(file.entries)), Entry(text, Planted(kind, REMOVED, code, original)))
