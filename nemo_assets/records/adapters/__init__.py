"""One module for each shape of source record; each has `adapt(record, split) -> Draft`.

Belongs here: what is different about a source. Does not: messages, evaluation, identity, rendering, which all share.
The catalog names the module (`adapter: math_v2`), so a new source of a known shape needs no code.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nemo_assets.catalog import Split
from nemo_assets.errors import UserError
from nemo_assets.records.draft import Draft

Adapter = Callable[[Mapping[str, Any], Split], Draft]


def looks_at(split: Split) -> Sequence[str] | None:
    """The fields beside messages and tools into whose strings the adapter of a split looks; None if it may look into
    any, and into what turns say. One that does not declares these as `LOOKS_AT`, and only moves all other strings and
    the numbers.
    """
    names: Sequence[str] | None = getattr(
        importlib.import_module(f"{__name__}.{split.source.adapter}"), "LOOKS_AT", None
    )
    return names


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
