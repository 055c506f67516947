"""Which rows a training subset takes, by a policy over the scores of all splits: pure functions over narrow tables.

Belongs here: normalising scores, choosing rows, controls, reports. Does not: the form of a policy
(`catalog.subset_policy`), where tables come from and go to (`stages`), plots.
"""

from nemo_assets.selection.normalised import Normalised, normalise
from nemo_assets.selection.predicates import check_policy, columns_of
from nemo_assets.selection.reasons import reasons, satisfies
from nemo_assets.selection.report import report
from nemo_assets.selection.select import Selection, Step, select_all

__all__ = [
    "Normalised", "Selection", "Step", "check_policy", "columns_of", "normalise", "reasons", "report", "satisfies",
    "select_all",
]  # fmt: skip
