"""Pages about training subsets: they show the report of the policy, try others, and draw charts that can be read."""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import polars as pl
import pytest
import yaml
from starlette.testclient import TestClient

from nemo_assets.catalog import CATALOG_DIR
from nemo_assets.sample import HUB
from nemo_assets.scoring.engine import SCORER_VERSION
from nemo_assets.scoring.rows import SCORE_SCHEMA
from nemo_assets.settings import Settings
from nemo_assets.stages.scored import texts_digest
from nemo_assets.stages.subsets import what_if
from nemo_assets.storage import Basis, Stage, Unit
from nemo_assets.storage.parquet import write_part
from nemo_assets.web.charts import Bin, histogram
from nemo_assets.web.subset_view import STRATA_SHOWN, heat, strata_of, traits_of
from nemo_assets_tests.browser.person import person_at
from nemo_assets_tests.requirements import absent
from nemo_assets_tests.stages.making import make_chain
from nemo_assets_tests.web.site import HOSTILE, guarded, served
from nemo_assets_tests.web.test_pages import words

SPLITS = ("nemotron-science-v1/MCQ", "nemotron-science-v1/RQA", "nemotron-math-v2/low")
POLICY = yaml.safe_load((CATALOG_DIR / "policies" / "subsets.yaml").read_text())


def write_scores(key: str, settings: Settings) -> None:
    """Scores by student and reference of all kept rows, spread by position."""
    store = settings.store
    deduped = store.current(Stage.DEDUPED, key)
    rows = pl.read_parquet(store.paths(deduped)).select("id", "text_sha1", "mask_sha1")
    with store.staging(
        Stage.SCORED, key, Basis({"texts": texts_digest(deduped, store)}, {"scorer": SCORER_VERSION})
    ) as staging:
        for number, (name, shift) in enumerate({"student": 0.0, "reference": 0.1}.items()):
            known = rows.with_row_index("n").with_columns(
                nll_mean=0.3 + pl.col("n") * 7 % 20 / 10 + shift, status=pl.lit("ok"), truncated=pl.lit(False),
                completion_token_count=50 + pl.col("n") * 37 % 900, prompt_token_count=pl.lit(40),
                share_above_2_nats=pl.lit(0.1), share_above_5_nats=0.01 * (pl.col("n") % 5),
                rank_mean_clipped=2.0 + pl.col("n") % 3, final_nll_sum=pl.lit(3.0), final_token_count=pl.lit(6),
                nll_per_byte=pl.lit(0.3), checkpoint=pl.lit(name), tokenizer_sha256=pl.lit("t"),
            )  # fmt: skip
            empty = pl.DataFrame(pl.from_arrow(SCORE_SCHEMA.empty_table()))
            path = staging.target(f"scores.{name}", 0)
            shaped = pl.concat([empty, known.drop("n")], how="diagonal_relaxed").select(SCORE_SCHEMA.names)
            count = write_part(path, shaped.with_columns(_filled()).to_arrow().cast(SCORE_SCHEMA))
            staging.add(Unit(number, (staging.part(f"scores.{name}", path, count),)))
        staging.commit(counters={"rows": rows.height, "checkpoints": {}})


def _filled() -> list[pl.Expr]:
    """Something in every column that may not be null."""
    blank: dict[str, Any] = {"int64": 0, "int32": 0, "string": "", "double": 0.0, "bool": False}
    must = [field for field in SCORE_SCHEMA if not field.nullable]
    return [pl.col(field.name).fill_null(blank[str(field.type)]) for field in must]


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Three splits of the bundled sample with scores, and strata as small as they are."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("scored") / "data", source_dir=HUB)
    make_chain(settings, until=Stage.POOLS, partitions=SPLITS)
    for key in SPLITS:
        write_scores(key, settings)
    return settings


@pytest.fixture(scope="module")
def client(scored: Settings) -> Iterator[TestClient]:
    with TestClient(guarded(scored), base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture(scope="module")
def report(scored: Settings) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(what_if(scored, scored.catalog.subset_policy)))
    return found


def tried(client: TestClient, policy: Any, **more: str) -> Any:
    """What the form sends, with line ends as browsers send them."""
    text = (policy if isinstance(policy, str) else yaml.safe_dump(policy)).replace("\n", "\r\n")
    return client.post("/lineage/subsets", data={"policy": text, **more}, headers={"Origin": "null"})


def test_the_page_shows_what_the_policy_cuts(client: TestClient, report: dict[str, Any]) -> None:
    page = client.get("/lineage/subsets")
    assert page.status_code == 200
    told = words(page.text)
    assert f"{report['scored']['rows']:,} of {report['scored']['kept_rows']:,} kept rows are scored" in told
    for name, subset in report["subsets"].items():
        assert f"{name} {subset['rows']:,} {subset['tokens']:,}" in told
        assert f'href="/lineage/subsets/{name}"' in page.text
    assert all(f"{key}: not scored yet" in told for key in report["left_out"])


def test_each_subset_has_a_page_with_its_funnel_its_strata_and_its_control(
    client: TestClient, report: dict[str, Any]
) -> None:
    for name, subset in report["subsets"].items():
        page = client.get(f"/lineage/subsets/{name}")
        told = words(page.text)
        assert page.status_code == 200
        assert subset["rule"] in told
        for step in subset["steps"]:
            assert re.search(rf"{step['name']} [\d.]+ % {step['rows']:,} {step['tokens']:,}", told)
        assert all(" ".join(note.split()) in told for note in subset["notes"])
    assert "total variation" in words(client.get("/lineage/subsets/anchor").text)
    missing = client.get("/lineage/subsets/nothing")
    assert (missing.status_code, "It has anchor, restoration" in words(missing.text)) == (404, True)


def test_the_form_holds_the_policy_as_it_is_written(client: TestClient, scored: Settings) -> None:
    page = client.get("/lineage/subsets").text
    text = re.search(r'name="policy"[^>]*>\n(.*?)</textarea>', page, re.DOTALL)
    assert text is not None
    assert html.unescape(text[1]) == Path(scored.catalog.subset_policy.path).read_text()


def test_another_policy_is_tried_without_changing_anything(client: TestClient, scored: Settings) -> None:
    other = POLICY | {
        "subsets": {"likely": {"purpose": "Likely rows.", "predicate": "percentile <= 50"}},
        "precedence": [],
    }
    before = sorted(path for path in scored.data_dir.rglob("*") if path.is_file())
    page = tried(client, other)
    assert page.status_code == 200
    told = words(page.text)
    assert "What this policy would cut" in told
    assert "likely" in told
    assert 'name="show" value="likely"' in page.text
    assert "anchor" not in re.sub(r"<textarea.*?</textarea>", "", page.text, flags=re.DOTALL)
    text = re.search(r"<textarea[^>]*>\n(.*?)</textarea>", page.text, re.DOTALL)
    assert text is not None
    assert html.unescape(text[1]) == yaml.safe_dump(other)
    shown = tried(client, other, show="likely")
    assert "not kept: a policy that is being tried" in words(shown.text)
    assert "percentile &lt;= 50" in shown.text
    assert sorted(path for path in scored.data_dir.rglob("*") if path.is_file()) == before
    assert "anchor" in words(client.get("/lineage/subsets").text)


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ("a: [", "no YAML"),
        ("a: " + "[" * 70_000, "nested more than 50 levels deep"),
        ("", "the policy on this page"),
        ("x" * 300_000, "longer than 256 kB"),
        (POLICY | {"trust": "no_such_column > 1"}, "no_such_column"),
        (POLICY | {"checkpoints": {"student": "nobody"}}, "nobody"),
        (
            POLICY | {"subsets": {"a": {"purpose": "x", "predicate": "percentile <="}}, "precedence": []},
            "policy on this page",
        ),
    ],
    ids=["broken", "deep", "empty", "long", "column", "checkpoint", "predicate"],
)
def test_what_is_wrong_with_a_policy_is_told_above_it(client: TestClient, policy: Any, told: str) -> None:
    page = tried(client, policy)
    assert page.status_code == 422
    message = re.search(r'<p class="message">(.*?)</p>', page.text, re.DOTALL)
    assert message is not None
    assert told in words(message[1])
    assert '<textarea id="policy-text"' in page.text


def test_without_scores_the_page_says_what_to_do(settings: Settings) -> None:
    client = TestClient(guarded(settings), base_url="http://127.0.0.1")
    for path in ("/lineage/subsets", "/lineage/subsets/anchor"):
        page = client.get(path)
        assert (page.status_code, "Materialise scored of one split first" in words(page.text)) == (200, True)


def test_a_chart_has_a_bar_a_bin_of_the_height_of_its_share() -> None:
    bins = [Bin("0.1", 30, 1), Bin("0.2", 10, 1), Bin("0.3", 0, 2), Bin("unknown", 10, 0, is_apart=True)]
    drawn = ElementTree.fromstring(histogram(bins, "nats per token", "NLL <b>"))
    assert drawn.get("aria-label") == "NLL <b>"
    bars = [float(bar.get("height", "0")) for bar in drawn.iter("rect")]
    assert bars == pytest.approx([bars[0], bars[0] / 3, 0, bars[0] / 3], abs=0.1)
    texts = [text.text for text in drawn.iter("text")]
    assert {"0 %", "20 %", "40 %", "60 %", "share of rows", "nats per token", "0.1", "unknown"} <= set(texts)
    outline = next(path.get("d", "") for path in drawn.iter("path") if path.get("class") == "control")
    heights = [float(y) for y in re.findall(r"V([\d.]+)H", outline)]
    floor = float(outline.rpartition("V")[2])
    assert [floor - y for y in heights] == pytest.approx(
        [(floor - heights[2]) / 2] * 2 + [floor - heights[2], 0], abs=0.2
    )


@pytest.mark.parametrize("bins", [[], [Bin("1", 0, 0)], [Bin("1", 5, 0)]])
def test_a_chart_of_little_is_still_one(bins: list[Bin]) -> None:
    assert ElementTree.fromstring(histogram(bins, "tokens", "x")).tag == "svg"


def test_bins_stand_in_the_order_of_their_axis_with_empty_ones_between() -> None:
    bias = {
        "completion_tokens": {
            "subset": {"4096": 1, "512": 3},
            "control": {"1024": 1},
            "total_variation": 1.0,
            "means": {"subset": 1500.0, "control": None},
        },
        "meta_correctness": {"subset": {"unknown": 2, "0.9": 1}, "control": {"0.7": 1}},
        "meta_domain": {"subset": {"math": 1}, "control": {"chat": 5, "math": 1}, "total_variation": 0.5},
    }
    length, correctness, domain = traits_of({"bias": bias})
    assert [(each.label, each.subset, each.control) for each in length.bins] == [
        ("512", 3, 0), ("1k", 0, 1), ("2k", 0, 0), ("4k", 1, 0),
    ]  # fmt: skip
    assert [each.label for each in correctness.bins] == ["0.7", "0.8", "0.9", "unknown"]
    assert correctness.bins[-1].is_apart
    assert [each.label for each in domain.bins] == ["chat", "math"]
    assert (length.means, domain.means) == ((1500.0, None), (None, None))
    assert (domain.chart, domain.total_variation, correctness.total_variation) == (None, 0.5, None)
    assert "subset most often 512, 75% of its rows" in str(length.chart)


def test_strata_that_give_most_come_first_and_can_be_broken_between_columns() -> None:
    line = {"tokens": 1, "wanted": None, "label": "dataset=org/a/meta_domain=math"}
    strata, more = strata_of({"strata": [line, line | {"tokens": 5, "label": "all"}, *[line] * STRATA_SHOWN]})
    assert [each["label"] for each in strata[:2]] == ["all", "dataset=org/a / meta_domain=math"]
    assert (len(strata), more) == (STRATA_SHOWN, 2)


def test_heat_is_none_for_nothing_and_most_for_all() -> None:
    assert [heat(share) for share in (0.0, 0.001, 0.3, 0.6, 0.99, 1.0)] == [0, 1, 2, 3, 4, 4]


def test_in_a_browser_a_hostile_policy_does_nothing_and_pages_are_narrow_and_accessible(scored: Settings) -> None:
    axe = os.environ.get("NEMO_AXE") or absent(
        "axe-core is missing: set NEMO_AXE to its axe.min.js", "NEMO_REQUIRE_AXE"
    )
    hostile = {"purpose": " ".join(HOSTILE), "predicate": "percentile <= 50", "budget": {"tokens": 10**12}}
    policy = yaml.safe_dump(POLICY | {"subsets": {"likely": hostile}, "precedence": []})
    with served(guarded(replace(scored))) as address, person_at(address) as person:
        page, told = person.page, []
        page.on("dialog", lambda dialog: (told.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda asked: told.append(asked.url) if not asked.url.startswith(address) else None)
        page.on("console", lambda line: told.append(line.text) if line.type == "error" else None)
        page.goto(f"{address}/lineage/subsets")
        page.locator("summary").click()
        page.locator("#policy-text").fill(policy)
        page.locator("#policy button.primary").click()
        page.get_by_role("button", name="likely").click()
        page.get_by_text("a policy that is being tried").wait_for()
        assert "alert(1)" in page.locator("main").inner_text()
        assert page.locator("main script, main img, main iframe, main style").count() == 0
        assert told == []
        for width in (320, 1280):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        browser = page.context.browser
        assert browser is not None
        found = {}
        for scheme in ("light", "dark"):
            context = browser.new_context(bypass_csp=True, color_scheme=scheme)  # type: ignore[arg-type]
            other = context.new_page()
            for path in ("/subsets", "/subsets/anchor", "/subsets/all_scored"):
                other.goto(f"{address}/lineage{path}")
                other.add_script_tag(path=axe)
                violations = other.evaluate("async () => (await axe.run()).violations")
                found[scheme, path] = [
                    (each["id"], [node["html"][:150] for node in each["nodes"][:3]])
                    for each in violations
                    if each["impact"] in ("serious", "critical")
                ]
            context.close()
        assert {key: violations for key, violations in found.items() if violations} == {}
