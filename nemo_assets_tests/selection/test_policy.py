"""What is written in a policy is understood, and a mistake in it names file, subset and field."""

import re
import shutil
from pathlib import Path

import polars as pl
import pytest

from nemo_assets.catalog import CATALOG_DIR, load_catalog, load_subset_policy, policy_digest
from nemo_assets.errors import UserError
from nemo_assets.selection import check_policy, columns_of
from nemo_assets.selection.predicates import columns_of_subset, subset_predicate, trust_predicate
from nemo_assets.selection.traits import SCHEMA
from nemo_assets_tests.building import CATALOG
from nemo_assets_tests.selection.scored_rows import POLICY, policy_of, traits_of

BUNDLED = CATALOG_DIR / "policies" / "subsets.yaml"
LIKELY = POLICY["subsets"]["likely"]


def test_the_bundled_policy_has_the_named_subsets_and_every_column_it_names():
    policy = CATALOG.subset_policy
    assert set(policy.subsets) == {"anchor", "restoration", "learning", "challenge", "quarantine", "all_scored"}
    assert policy.precedence == ("quarantine", "challenge", "restoration", "learning", "anchor")
    assert {name for name, subset in policy.subsets.items() if "reference" in subset.needs} == {
        "restoration",
        "challenge",
    }
    assert [name for name, subset in policy.subsets.items() if not subset.control] == ["all_scored"]
    assert policy.roles == {"student": "student", "reference": "reference"}
    check_policy(policy)


def test_columns_of_a_policy_are_those_it_names_and_those_they_are_made_of(tmp_path):
    policy = policy_of(
        tmp_path,
        strata={"columns": ["meta_domain", "length_decile"]},
        trust="quality_valid_harmony",
        quantiles={"tail": {"of": "share_above_5_nats", "at": 0.6}, "unused": {"of": "stats_repeat_ratio", "at": 0.5}},
        subsets={
            "a": {
                "purpose": "A.",
                "predicate": "rank_surprisal_percentile < 50 AND share_above_2_nats <= tail",
                "ranking": [{"by": "final_nll_mean"}],
                "caps": {"problem": 1},
                "spread_over": "prompt",
            }
        },
    )
    always = {"split_number", "row", "id_hash", "status", "truncated", "completion_tokens", "tokens"}
    reported = {"nll_mean", "meta_correctness", "meta_domain", "dataset", "quality_has_tool"}
    assert columns_of(policy) - always - reported == {
        "stratum", "nll_residual", "percentile", "length_decile", "quality_valid_harmony", "rank_surprisal_percentile",
        "rank_mean_clipped", "share_above_2_nats", "tail", "share_above_5_nats", "final_nll_mean", "problem", "prompt",
    }  # fmt: skip
    assert columns_of_subset(policy, "a") == [
        "final_nll_mean", "quality_valid_harmony", "rank_surprisal_percentile", "share_above_2_nats", "tail",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"subsets": {"likely": {**LIKELY, "predicate": "percentil <= 50"}}},
         r"subset 'likely': predicate: there is no column 'percentil'\. Did you mean percentile or .*\?$"),
        ({"subsets": {"likely": {**LIKELY, "predicate": "percentile + 1"}}},
         "subset 'likely': predicate: .* is Float32, not"),
        ({"subsets": {"likely": {**LIKELY, "predicate": "percentile <"}}},
         "subset 'likely': predicate: .* is no predicate"),
        ({"subsets": {"likely": {**LIKELY, "predicate": "MAX(percentile) > 3"}}}, "speaks of many rows at once"),
        ({"subsets": {"likely": {**LIKELY, "predicate": "truncated status = 'ok'"}}}, "is no predicate"),  # no AND
        ({"subsets": {"likely": {**LIKELY, "ranking": [{"by": "nll_men"}]}}},
         "subset 'likely': ranking: there is no column 'nll_men'. Did you mean nll_mean"),
        ({"subsets": {"likely": {**LIKELY, "ranking": [{"by": "meta_tags"}]}}}, "ranking: meta_tags is a list"),
        ({"subsets": {"likely": {**LIKELY, "caps": {"problm": 1}}}},
         "subset 'likely': caps: there is no column 'problm'"),
        ({"subsets": {"likely": {**LIKELY, "caps": {"nll_mean": 1}}}},
         "caps: nll_mean is Float32; rows share no value"),
        ({"subsets": {"likely": {**LIKELY, "spread_over": "promt"}}}, "spread_over: there is no column 'promt'"),
        ({"trust": "quality_valid"}, "trust: there is no column 'quality_valid'"),
        ({"strata": {"columns": ["domain"]}}, "strata: there is no column 'domain'"),
        ({"strata": {"columns": ["nll_mean"]}}, "strata: nll_mean is Float32"),
        ({"quantiles": {"q": {"of": "tail", "at": 0.5}}}, "quantile 'q': of: there is no column 'tail'"),
        ({"quantiles": {"q": {"of": "dataset", "at": 0.5}}}, "quantile 'q': of: dataset is Categorical.*no quantiles"),
        ({"quantiles": {"tokens": {"of": "nll_mean", "at": 0.5}}}, "quantile 'tokens': there is a column of that name"),
    ],
)  # fmt: skip
def test_a_column_that_is_not_there_is_told_with_file_subset_and_the_nearest(tmp_path, changed, says):
    policy = policy_of(tmp_path, **changed)
    with pytest.raises(UserError, match=rf"^{re.escape(str(tmp_path))}/subsets\.yaml: ") as refused:
        columns_of(policy)
    assert re.search(says, str(refused.value))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"subsets": {"likely": {**LIKELY, "colour": "red"}}}, "subset 'likely': .*unknown field `colour`"),
        ({"subsets": {"likely": {"purpose": "X."}}}, "subset 'likely': .*missing required field `predicate`"),
        ({"subsets": {"likely": {**LIKELY, "needs": ["teacher"]}}},
         r"subset 'likely': Invalid enum value 'teacher'.*needs"),
        ({"subsets": {"likely": {**LIKELY, "needs": ["student", "reference"]}}},
         "subset 'likely': needs role 'reference', for which `checkpoints` names no"),
        ({"subsets": {"likely": {**LIKELY, "needs": []}}}, "subset 'likely': `needs` must have student"),
        ({"subsets": {"likely": {**LIKELY, "budget": {"tokens": -1}}}},
         r"subset 'likely': Expected `int` >= 1.*budget\.tokens"),
        ({"subsets": {"likely": {**LIKELY, "budget": {"share": 1.5}}}},
         r"subset 'likely': Expected `float` <= 1.*share"),
        ({"subsets": {"likely": {**LIKELY, "budget": {"share": 0.1, "rows": 3}}}},
         "subset 'likely': `budget` needs one of tokens, rows and share, not rows and share"),
        ({"subsets": {"likely": {**LIKELY, "budget": {}}}}, "subset 'likely': `budget` needs one of .* not none"),
        ({"subsets": {"likely": {**LIKELY, "allocation": {"by": "hunger"}}}},
         r"subset 'likely': .*'hunger'.*allocation"),
        ({"subsets": {"likely": {**LIKELY, "allocation": {"by": "degradation"}}}},
         "subset 'likely': allocation by degradation compares two checkpoints"),
        ({"subsets": {"likely": {**LIKELY, "caps": {"problem": 0}}}}, r"subset 'likely': Expected `int` >= 1.*caps"),
        ({"subsets": {"Likely!": LIKELY}}, "subset 'Likely!': a name has lower case"),
        ({"subsets": {"random_control_x": LIKELY}}, "is not random_control"),
        ({"subsets": {}}, "names no subset"),
        ({"precedence": ["likely", "anchor"]}, "`precedence` names 'anchor', which is no subset. There are likely"),
        ({"precedence": ["likely", "likely"]}, "`precedence` names a subset twice"),
        ({"strata": {"columns": []}}, "strata.columns must name"),
        ({"strata": {"columns": ["dataset"], "min_rows": 0}}, "Expected `int` >= 1.*strata.min_rows"),
        ({"quantiles": {"q": {"of": "nll_mean", "at": 60}}}, "quantile 'q': Expected `float` <= 1"),
        ({"quantiles": {"Q 1": {"of": "nll_mean", "at": 0.6}}}, "quantile 'Q 1': a name"),
        ({"checkpoints": {"teacher": "x", "student": "y"}}, "unknown field `teacher`"),
        ({"checkpoints": {}}, "missing required field `student`"),
        ({"presedence": []}, "unknown field `presedence`"),
    ],
)  # fmt: skip
def test_what_is_written_wrongly_is_told_with_file_and_place(tmp_path, changed, says):
    with pytest.raises(UserError, match=rf"^{re.escape(str(tmp_path))}/subsets\.yaml: ") as refused:
        policy_of(tmp_path, **changed)
    assert re.search(says, str(refused.value))
    assert "\n" not in str(refused.value)


def test_the_catalog_needs_the_policy_and_the_checkpoints_that_it_names(tmp_path: Path):
    shutil.copytree(CATALOG_DIR, tmp_path / "catalog")
    path = tmp_path / "catalog" / "policies" / "subsets.yaml"
    path.write_text(path.read_text().replace("reference: reference", "reference: teacher"))
    with pytest.raises(
        UserError, match=r"checkpoints.reference names 'teacher', which is none of checkpoints.yaml: student, ref"
    ):
        load_catalog(tmp_path / "catalog")
    path.unlink()
    with pytest.raises(UserError, match=r"subsets\.yaml: the catalog needs this file"):
        load_catalog(tmp_path / "catalog")


def test_the_digest_tells_what_a_policy_says_and_not_where_it_lies(tmp_path):
    copy = tmp_path / "copy.yaml"
    copy.write_text("# a comment\n" + BUNDLED.read_text())
    assert policy_digest(load_subset_policy(copy, CATALOG.checkpoints)) == policy_digest(CATALOG.subset_policy)
    copy.write_text(BUNDLED.read_text().replace("percentile <= 40", "percentile <= 41"))
    assert policy_digest(load_subset_policy(copy, CATALOG.checkpoints)) != policy_digest(CATALOG.subset_policy)


def test_null_counts_as_false_and_numbers_in_single_precision_equal_the_literals_they_came_from(tmp_path):
    policy = policy_of(tmp_path, subsets={"x": {**LIKELY, "predicate": "nll_mean >= 0.1 AND nll_mean <= 0.7"}})
    rows = traits_of([{"nll_mean": value} for value in (0.1, 0.7, 0.71, None)])
    assert rows.select(subset_predicate(policy, "x")).to_series().to_list() == [True, True, False, False]
    assert rows.select(trust_predicate(policy).alias("t")).to_series().all()


def test_every_known_trait_of_a_table_has_its_type():
    frame = traits_of([{}])
    assert frame.schema == pl.Schema(SCHEMA)
