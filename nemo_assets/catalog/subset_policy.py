"""What training subsets are cut by: types of `policies/subsets.yaml`, and reading it.

Belongs here: what can be checked without data. Does not: which columns a predicate may name (`selection.predicates`),
how rows are chosen (`selection`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from nemo_assets.errors import UserError

Role = Literal["student", "reference", "unconditional"]
Positive = Annotated[float, msgspec.Meta(gt=0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(gt=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=1)]

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_CONTROL = "random_control"  # configs of controls are named so

Converted = TypeVar("Converted")


class Roles(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Names in checkpoints.yaml. unconditional: the student's scores of the same completions without their prompts."""

    student: str
    reference: str | None = None
    unconditional: str | None = None


class Strata(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rows are compared with rows of the same stratum. `columns` from coarse to fine.

    A cell with fewer than `min_rows` rows, and less than `min_share` of all rows, joins the other small cells of its
    parent, and so on upwards.
    """

    columns: tuple[str, ...]
    min_rows: Count = 1000
    min_share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.02


class Quantile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A threshold a stratum: the quantile `at` of the column `of` among the scored rows of the stratum."""

    of: str
    at: Annotated[float, msgspec.Meta(ge=0, le=1)]


class Ranking(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A column to sort by; nulls come last."""

    by: str
    descending: bool = False


class Budget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much is taken: `tokens` (prompt and completion), `rows`, or a `share` of the tokens of all scored rows."""

    tokens: Count | None = None
    rows: Count | None = None
    share: Share | None = None


class Allocation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the budget is divided among strata.

    natural: as the tokens of all scored rows; temperature: as these to the power `exponent`; degradation: as
    max(0, mean difference of the candidates)^`power` x the tokens of the stratum, but the part `floor` as tokens alone.
    """

    by: Literal["natural", "temperature", "degradation"] = "natural"
    exponent: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5
    power: NotNegative = 1.0
    floor: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0


class SubsetEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One subset.

    needs: roles without whose scores there is no such subset. trusted: the trust gate is asked too. predicate: SQL over
    traits and normalised columns, null taken as false. spread_over: of rows with equal value here, one each comes first
    in the ranking, then a second one each. caps: rows at most with the same value of a column, over all splits.
    control: a random control is cut beside it.
    """

    purpose: str
    predicate: str
    needs: tuple[Role, ...] = ("student",)
    trusted: bool = True
    ranking: tuple[Ranking, ...] = ()
    spread_over: str | None = None
    budget: Budget | None = None
    allocation: Allocation = Allocation()
    caps: dict[str, Count] = {}
    control: bool = True


class SubsetPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """All subsets. precedence: a row goes to the first of these that takes it; subsets not named overlap freely.

    path: what errors call the policy; it is no part of what the YAML says.
    """

    path: str
    checkpoints: Roles
    strata: Strata
    trust: str
    subsets: dict[str, SubsetEntry]
    quantiles: dict[str, Quantile] = {}
    precedence: tuple[str, ...] = ()
    seed: int = 0

    @property
    def roles(self) -> Mapping[str, str]:
        """Checkpoint by role, of the roles that have one."""
        return {role: name for role, name in msgspec.structs.asdict(self.checkpoints).items() if name is not None}


class _Written(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    checkpoints: Roles
    strata: Strata
    trust: str
    subsets: dict[str, Any]  # made entries one by one, so that a mistake can be told with the subset's name
    quantiles: dict[str, Any] = {}
    precedence: tuple[str, ...] = ()
    seed: Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)] = 0


def load_subset_policy(path: Path, checkpoints: Collection[str]) -> SubsetPolicy:
    """Read a policy; `checkpoints` are the names that its roles may have.

    Whether its columns are there, `selection.check_policy` knows.

    Raises UserError naming the file, the subset and the setting.
    """
    try:
        text = path.read_text()
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such policy.") from None
    return parse_subset_policy(text, str(path), checkpoints)


def parse_subset_policy(text: str, where: str, checkpoints: Collection[str]) -> SubsetPolicy:
    """A policy from YAML; `where` names it in errors, which are the same as of `load_subset_policy`."""
    try:
        written = msgspec.yaml.decode(text.encode(), type=_Written)
    except msgspec.MsgspecError as error:
        raise UserError(f"{where}: {' '.join(str(error).split())}") from None
    entries = {
        "subsets": _entries(f"{where}: subset", written.subsets, SubsetEntry),
        "quantiles": _entries(f"{where}: quantile", written.quantiles, Quantile),
    }
    policy = SubsetPolicy(path=where, **{**msgspec.structs.asdict(written), **entries})
    _check_roles(policy, checkpoints)
    _check_parts(policy)
    for name, subset in policy.subsets.items():
        _check_subset(policy, name, subset)
    return policy


def policy_digest(policy: SubsetPolicy) -> str:
    """Changes when the policy says something else, wherever it lies."""
    told = msgspec.json.encode(msgspec.structs.replace(policy, path=""), order="sorted")
    return hashlib.sha256(told).hexdigest()[:16]


def _entries(where: str, written: Mapping[str, Any], as_type: type[Converted]) -> dict[str, Converted]:
    entries = {}
    for name, content in written.items():
        if not _NAME.fullmatch(name) or name.startswith(_CONTROL):
            raise UserError(
                f"{where} {name!r}: a name has lower case letters, digits and underscores, and is not {_CONTROL}…"
            )
        try:
            entries[name] = msgspec.convert(content, as_type)
        except msgspec.ValidationError as error:
            raise UserError(f"{where} {name!r}: {error}") from None
    return entries


def _check_roles(policy: SubsetPolicy, checkpoints: Collection[str]) -> None:
    for role, name in policy.roles.items():
        if name not in checkpoints:
            raise UserError(
                f"{policy.path}: checkpoints.{role} names {name!r}, which is none of checkpoints.yaml: "
                f"{', '.join(checkpoints)}."
            )


def _check_parts(policy: SubsetPolicy) -> None:
    where, columns = policy.path, policy.strata.columns
    if not columns or len(set(columns)) < len(columns):
        raise UserError(f"{where}: strata.columns must name the columns, coarse to fine, each once.")
    if not policy.subsets:
        raise UserError(f"{where}: names no subset.")
    for name in policy.precedence:
        if name not in policy.subsets:
            raise UserError(
                f"{where}: `precedence` names {name!r}, which is no subset. There are {', '.join(policy.subsets)}."
            )
    if len(set(policy.precedence)) < len(policy.precedence):
        raise UserError(f"{where}: `precedence` names a subset twice.")


def _check_subset(policy: SubsetPolicy, name: str, subset: SubsetEntry) -> None:
    where = f"{policy.path}: subset {name!r}"
    for role in subset.needs:
        if role not in policy.roles:
            raise UserError(f"{where}: needs role {role!r}, for which `checkpoints` names no checkpoint.")
    if "student" not in subset.needs:
        raise UserError(f"{where}: `needs` must have student; no row is chosen that the student was not scored on.")
    if subset.budget is not None:
        given = [kind for kind, value in msgspec.structs.asdict(subset.budget).items() if value is not None]
        if len(given) != 1:
            raise UserError(
                f"{where}: `budget` needs one of tokens, rows and share, not {' and '.join(given) or 'none'}."
            )
    if subset.allocation.by == "degradation" and "reference" not in subset.needs:
        raise UserError(f"{where}: allocation by degradation compares two checkpoints; add `reference` to `needs`.")
