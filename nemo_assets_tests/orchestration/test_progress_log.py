"""Progress in the log of a run."""

from __future__ import annotations

from nemo_assets.orchestration.progress_log import LoggedProgress, progress_logged
from nemo_assets.progress import shown_on, track


def test_a_line_every_half_minute_says_how_far_it_is_and_how_long_it_takes() -> None:
    lines: list[str] = []
    now = 0.0
    with shown_on(LoggedProgress(lines.append, lambda: now)), track("scoring", 1000, "rows") as meter:
        for _ in range(7):
            now += 10
            meter.advance(100)
    assert lines == [
        "scoring: 300 of 1,000 rows (30%), 10.0 a second, about 1 min left",
        "scoring: 600 of 1,000 rows (60%), 10.0 a second, about 1 min left",
    ]
    with shown_on(LoggedProgress(lines.append, lambda: now)), track("fetch", None, "B") as meter:
        now += 60
        meter.advance(30e6)
    assert lines[2:] == ["fetch: 30 MB, 0.5 a second"]


def test_bars_on_a_terminal_are_enough() -> None:
    logged: list[str] = []
    shown: list[str] = []
    now = iter([0.0, 31.0])
    display = LoggedProgress(shown.append, lambda: next(now))
    with shown_on(display), progress_logged(logged.append), track("scoring", 10) as meter:
        meter.advance(1)
    assert len(shown) == 1
    assert not logged
