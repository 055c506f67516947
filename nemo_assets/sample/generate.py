"""Write the sample tree: `python -m nemo_assets.sample.generate DIRECTORY`.

Belongs here: assembling the sources, cards, and TRUTH.json. Does not: content or defects of a source.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from nemo_assets.sample import agentic, chat, defects, math_v2, proofs, rendered, rendered_defects, science
from nemo_assets.sample.tree import SourceFile, truth

SEED = 20_251_003
"""The bundled tree was written with this seed; another one gives another tree with the same kinds of defects."""

CARD = """---
license: other
license_name: generated-sample
configs:
- config_name: default
  data_files:
{files}
---
# {dataset}

A generated stand-in with the layout, key order and types of {dataset}; it holds no row of the real repo.
Texts are composed from templates by `nemo_assets.sample`; names, places, urls and users are made up.
Some rows are defective on purpose, TRUTH.json at the top of the tree names them.
"""


def sources(seed: int = SEED) -> list[SourceFile]:
    """Every data file of the sample with its planted records, in memory."""
    written = [
        *math_v2.files(seed),
        *proofs.files(seed),
        *science.files(seed),
        *agentic.files(seed),
        *chat.files(seed),
    ]
    defects.plant(seed, written)
    texts = rendered.files(seed, [file for file in written if file.dataset == math_v2.DATASET])
    rendered_defects.plant(seed, texts)
    return [*written, *texts]


def card(files: list[SourceFile]) -> str:
    """The README.md of one repo, whose `configs` say which files make which split."""
    paths = {
        file.split: f"data/{file.split}-*.parquet" if file.path.endswith(".parquet") else file.path for file in files
    }
    listed = "\n".join(f"  - split: {split}\n    path: {path}" for split, path in paths.items())
    return CARD.format(files=listed, dataset=files[0].dataset)


def generate(directory: Path, seed: int = SEED) -> None:
    """Write the tree below `directory`. The same seed gives the same bytes; Parquet files the same tables."""
    files = sources(seed)
    for file in files:
        file.write(directory)
    for dataset in {file.dataset: None for file in files}:
        own = [file for file in files if file.dataset == dataset]
        (directory / dataset / "README.md").write_text(card(own), encoding="utf-8")
    planted = json.dumps(truth(files, seed), indent=1, ensure_ascii=False)
    (directory / "TRUTH.json").write_text(planted + "\n", encoding="utf-8")


def main() -> None:
    """Command line entry: one argument, the directory to write to."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m nemo_assets.sample.generate DIRECTORY")
    generate(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
