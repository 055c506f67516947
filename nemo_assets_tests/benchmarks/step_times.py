"""On which step of `normalize` the processor's time goes, by sampling: nothing in the code that is timed knows of it.

A timer that runs with the CPU time of the process interrupts it about every millisecond. The handler runs when the call
into C that was under way returns, and gives the CPU time since the last sample to the innermost function of nemo_assets
on the stack: so the time of a library is that of the function that called it.
"""

from __future__ import annotations

import signal
import time
from collections import defaultdict
from functools import lru_cache
from types import FrameType
from typing import Self

INTERVAL = 0.001  # seconds of CPU time; the kernel may round it up to its tick
PACKAGE = "nemo_assets."
OTHER = "other"
CALLER = "(its caller)"  # what many steps use: the next function of nemo_assets outwards decides

# `render` is the one walk that also encodes, looks for special tokens and hashes the content.
# Step of a function `module:qualified name`, of a module, or of a package; the most specific entry counts.
STEPS = {
    "stages.units": "plan",
    "records.recipe": "plan",
    "stages.normalized": "read lines",
    "stages.normalized:normalize_unit": "arrow",
    "stages.normalized:_Counted": "arrow",
    "stages.normalized:_rejection": "ledger",
    "records.parsing": "parse",
    "records.long_integers": "parse",
    "records.census": "census",
    "records.adapters": "adapt",
    "records.messages": "adapt",
    "records.draft": "adapt",
    "records.evaluation": "evaluation",
    "records.rows": "columns",
    "records.rows:SourceFileRef": "hash",
    "records.rows:_schema_verdicts": "validate",
    "records.rows:_completion_fault": "validate",
    "records.schema": "columns",
    "records.sorted_json": CALLER,
    "records.tools": "tools",
    "records.row_groups": "arrow",
    "records.line_scan": "parse",
    "records.line_texts": "render",
    "records.known_forms": "columns",
    "records.known_forms:KnownForms._candidates": "parse",
    "records.known_forms:KnownForms._known_form": "adapt",
    "records.known_forms:KnownForms._known_kind": "adapt",
    "records.known_forms:KnownForms._use": "adapt",
    "records.known_forms:_digests": "hash",
    "records.known_fields": "columns",
    "records.known_fields:KnownFields.plan": "adapt",
    "records.field_columns": "columns",
    "records.field_columns:evaluate": "evaluation",
    "records.repetition": "measure",
    "records.text_measures": "measure",
    "harmony": "render",
    "harmony.conversation:canonical_json": CALLER,
    "harmony.conversation:_quoted": CALLER,
    "harmony.identity": "hash",
    "harmony.spans": "mask",
    "harmony.quality": "validate",
    "harmony.validation": "validate",
    "harmony.special_tokens": "validate",
    "harmony.tool_arguments": "validate",
    "harmony.parse": "validate",
    "storage": "publish",
    "storage.parquet": "write",
    "storage.staging": "publish",
    "disk": "publish",
    "disk:write_all": "write",
    "disk:disk_told": CALLER,
    "disk:written_aside": CALLER,
}


class StepTimes:
    """CPU seconds by step while the `with` block runs, `others` those of functions that STEPS does not name.

    For the main thread of one process on a system with interval timers.
    """

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.others: defaultdict[str, float] = defaultdict(float)
        self._last = 0.0

    def __enter__(self) -> Self:
        signal.signal(signal.SIGPROF, self._sample)
        self._last = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)
        return self

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, signal.SIG_DFL)

    def _sample(self, _: int, frame: FrameType | None) -> None:
        now = time.process_time()
        spent, self._last = now - self._last, now
        while frame is not None:
            module = str(frame.f_globals.get("__name__", ""))
            if module.startswith(PACKAGE):
                name = frame.f_code.co_qualname
                step = step_of(module, name)
                if step is None:
                    self.others[f"{module.removeprefix(PACKAGE)}:{name}"] += spent
                if step != CALLER:
                    self.seconds[step or OTHER] += spent
                    return
            frame = frame.f_back
        self.seconds[OTHER] += spent
        self.others["(no function of nemo_assets)"] += spent


@lru_cache(maxsize=4096)
def step_of(module: str, function: str) -> str | None:
    """The step of a function given by its module and qualified name; None where STEPS has no entry for it."""
    module = module.removeprefix(PACKAGE)
    name = function.partition(".<locals>")[0]
    while name:
        if step := STEPS.get(f"{module}:{name}"):
            return step
        name = name.rpartition(".")[0]
    while module:
        if step := STEPS.get(module):
            return step
        module = module.rpartition(".")[0]
    return None
