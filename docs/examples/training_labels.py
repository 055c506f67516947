"""From a subset to what a trainer takes: `input_ids` and `labels`, the loss on exactly the tokens that were scored.

    python docs/examples/training_labels.py ORG/REPO subset_learning MODEL

Needs `datasets`, `transformers` and this package; a model directory works as MODEL, a folder as ORG/REPO.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from nemo_assets.harmony import loss_spans, token_mask

IGNORED = -100  # what trainers leave out of the loss


def with_labels(row: Mapping[str, Any], tokenizer: Any) -> dict[str, list[int]]:
    """`input_ids` of the text, and `labels` that are IGNORED wherever a token is not in the loss of its row."""
    encoded = tokenizer(row["text"], return_offsets_mapping=True)
    spans = loss_spans(row["text"], row["loss_mode"], row["loss_terminators"])
    ids = np.array(encoded["input_ids"])
    in_loss = token_mask(encoded["offset_mapping"], spans).scored
    return {"input_ids": ids.tolist(), "labels": np.where(in_loss, ids, IGNORED).tolist()}


def main(repo: str, config: str, model: str) -> None:
    """Say of each split of a subset how many tokens there are, and how many of them are trained."""
    from datasets import load_dataset
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    for split, rows in load_dataset(repo, config).items():
        ready = rows.map(with_labels, fn_kwargs={"tokenizer": tokenizer}, remove_columns=rows.column_names)
        trained = sum(sum(label != IGNORED for label in row["labels"]) for row in ready)
        total = sum(len(row["input_ids"]) for row in ready)
        sys.stdout.write(f"{split}: {ready.num_rows} rows, {total} tokens, {trained} of them in the loss\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
