"""One module for each shape of source record; each has `adapt(record, split) -> Draft`.

Belongs here: what is different about a source. Does not: messages, evaluation, identity, rendering, which all share.
The catalog names the module (`adapter: math_v2`), so a new source of a known shape needs no code.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any

from nemo_assets.catalog import Split
from nemo_assets.errors import UserError
from nemo_assets.records.draft import Draft

Adapter = Callable[[Mapping[str, Any], Split], Draft]


def reads_bodies(split: Split) -> bool:
    """Whether the adapter of a split looks at what turns say. One that does not declares `READS_BODIES = False`."""
    return bool(getattr(importlib.import_module(f"{__name__}.{split.source.adapter}"), "READS_BODIES", True))


def adapter_names() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load_adapter(split: Split) -> Adapter:
    """The adapter the catalog names; raises UserError naming those there are."""
    name = split.source.adapter
    if name not in adapter_names():
        raise UserError(
            f"nemo_assets/catalog/{split.slug}.yaml: no adapter {name!r}. There are {', '.join(adapter_names())}."
        )
    adapt: Adapter = importlib.import_module(f"{__name__}.{name}").adapt
    return adapt
