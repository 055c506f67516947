"""What a run makes names the run, and keeps naming it when a later run finds nothing to do."""

from __future__ import annotations

from nemo_assets.storage import Stage
from nemo_assets_tests.orchestration.world import World


def test_manifests_name_the_run_that_made_them(world: World):
    first = world.run("beta/chat", "raw", "normalized").run_id
    second = world.run("beta/chat", "raw", "normalized", "signatures").run_id
    assert first != second
    made = {stage: world.manifest(stage, "beta/chat").run_id for stage in (Stage.RAW, Stage.NORMALIZED)}
    assert made == {Stage.RAW: first, Stage.NORMALIZED: first}
    assert world.manifest(Stage.SIGNATURES, "beta/chat").run_id == second
    world.write_jsonl("org/beta/data/chat.jsonl", [])
    third = world.run("beta/chat", "raw", "normalized").run_id
    assert [world.manifest(stage, "beta/chat").run_id for stage in made] == [third, third]
