"""The bundled sample: a small tree of source repos, laid out as on the Hub, and the generator that wrote it.

Belongs here: original content composed from templates, the defects planted in it, and where the tree lies.
Does not: anything the pipeline uses on real data. Nothing here imports `harmony` or `records`, so that the sample can
serve them as an independent oracle.
"""

from __future__ import annotations

from pathlib import Path

HUB = Path(__file__).parent / "hub"
"""The bundled tree: `<org>/<name>/data/...` per source repo, and `TRUTH.json` at its top."""
