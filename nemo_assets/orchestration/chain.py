"""What every asset of the chain has in common, said once.

Belongs here: from a function to an asset with partitions, dependencies, policy, owner, retry and columns. Does not:
which assets there are (`assets`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import dagster as dg

from nemo_assets.errors import ConservationError, UserError
from nemo_assets.orchestration.automation import OptIn, on_data_change
from nemo_assets.orchestration.columns import table_schema
from nemo_assets.orchestration.partitions import Partitions, Per
from nemo_assets.orchestration.progress_log import progress_logged
from nemo_assets.records.schema import Column
from nemo_assets.storage.manifest import made_by

OWNERS = ["team:training-data"]
TAGS = {"project": "nemo_assets"}

# A broken connection or a lost container passes; what a user must mend does not, and is told at once.
NETWORK_RETRY = dg.RetryPolicy(max_retries=2, delay=10, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)

Body = Callable[..., dg.MaterializeResult[None]]


@dataclass(frozen=True)
class ChainAsset:
    """An asset in the making: everything but the catalog, which decides its partitions."""

    body: Body
    deps: tuple[str, ...]
    group: str
    columns: tuple[Column, ...]
    per: Per
    kinds: frozenset[str]
    automation: dg.AutomationCondition[Any]
    opt_in: Literal["publish", "score"] | None
    origins: str | None
    pool: str | None
    code_version: str | None

    @property
    def name(self) -> str:
        return self.body.__name__

    def build(
        self, partitions: Partitions, covers: Mapping[str, Per], opt_in: OptIn, unused: Collection[str] = ()
    ) -> dg.AssetsDefinition:
        """The asset; `covers` says of every asset what one of its materializations covers, `unused` are assets that
        nothing is made from: the UI would warn that they are missing.
        """
        automated = self.opt_in is None or getattr(opt_in, self.opt_in)
        deps = [
            dg.AssetDep(name, partition_mapping=partitions.mapping(covers[name], self.per))
            for name in self.deps
            if name not in unused
        ]
        if self.origins is not None:
            deps.append(dg.AssetDep(self.origins, partition_mapping=partitions.origins))
        return dg.asset(
            name=self.name,
            deps=deps,
            partitions_def=partitions.definition(self.per),
            group_name=self.group,
            kinds=set(self.kinds),
            owners=OWNERS,
            tags=TAGS,
            metadata={"dagster/column_schema": table_schema(self.columns)},
            automation_condition=self.automation if automated else None,
            retry_policy=NETWORK_RETRY if self.pool else None,
            pool=self.pool,
            code_version=self.code_version,
        )(_told(self.body))


def chain_asset(
    *,
    deps: Iterable[str],
    group: str,
    columns: tuple[Column, ...],
    per: Per = "split",
    kinds: Iterable[str] = ("parquet", "polars"),
    automation: dg.AutomationCondition[Any] | None = None,
    opt_in: Literal["publish", "score"] | None = None,
    origins: str | None = None,
    pool: str | None = None,
    code_version: str | None = None,
) -> Callable[[Body], ChainAsset]:
    """Declare an asset of the chain; its name and description are those of the function.

    deps are names of assets, mapped by what they cover; origins names one more, read through the correctness join. An
    asset with a pool uses the network or the accelerator: runs share the limit of the pool, and it is tried again.
    """

    def declare(body: Body) -> ChainAsset:
        policy = on_data_change() if automation is None else automation
        return ChainAsset(
            body, tuple(deps), group, columns, per, frozenset(kinds), policy, opt_in, origins, pool, code_version
        )

    return declare


def _told(body: Body) -> Body:
    """Progress goes to the log of the run, and manifests name the run. Errors that trying again cannot mend fail the
    step at once; the original error stays the cause.
    """

    @functools.wraps(body)
    def told(*arguments: Any, **resources: Any) -> dg.MaterializeResult[None]:
        try:
            with progress_logged(arguments[0].log.info), made_by(arguments[0].run.run_id):
                return body(*arguments, **resources)
        except (UserError, ConservationError) as error:
            raise dg.Failure(str(error), allow_retries=False) from error

    return told
