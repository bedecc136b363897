"""Pictures of the dashboard: where things lie, what they tell, and that no colour is the only sign."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import numpy as np
import pytest

from bondhu.dashboard.charts import hours
from bondhu.dashboard.charts.bars import Groups, Row, bars
from bondhu.dashboard.charts.heat import DEEPEST, PALEST, Cell, Grid, depth, heat
from bondhu.dashboard.charts.ladder import Rung, ladder, rungs
from bondhu.dashboard.charts.lines import Drawn, Mark, Series, apart, lines, stretches
from bondhu.dashboard.charts.plot import KINDS, About, clipped, halves
from bondhu.dashboard.charts.spark import spark
from bondhu.types import Floats

START = datetime(2026, 11, 2, tzinfo=UTC).timestamp()  # a Monday
DAY = hours.DAY
ABOUT = About("reward", "Reward of a decision", "Mean of a day.")


def days(*values: float) -> tuple[Floats, Floats]:
    return START + DAY * np.arange(len(values)), np.array(values, dtype=np.float64)


def moments(low: float, high: float, most: int = 10) -> list[tuple[str, str]]:
    return [(each.says, each.under) for each in hours.ticks(low, high, most)]


def test_ticks_within_a_day_are_round_hours_and_say_the_day_once() -> None:
    found = moments(START + 20 * 3600, START + 30 * 3600, 5)
    assert found == [("20:00", "2 Nov"), ("22:00", ""), ("00:00", "3 Nov"), ("02:00", ""), ("04:00", ""), ("06:00", "")]


def test_ticks_of_seconds_minutes_weeks_and_years_are_round() -> None:
    seconds = moments(START, START + 60, 4)
    assert [says for says, _ in seconds] == ["00:00:00", "00:00:15", "00:00:30", "00:00:45", "00:01:00"]
    assert [under for _, under in seconds] == ["2 Nov", "", "", "", ""]
    minutes = moments(START + 120, START + 1_500, 5)
    assert [says for says, _ in minutes] == ["00:05", "00:10", "00:15", "00:20", "00:25"]
    weeks = [datetime.fromtimestamp(each.at, UTC) for each in hours.ticks(START - 3 * DAY, START + 40 * DAY)]
    assert {each.weekday() for each in weeks} == {0}
    assert moments(START, START + 400 * DAY, 6) == [("Jan", "2027"), ("Apr", ""), ("Jul", ""), ("Oct", "")]


@pytest.mark.parametrize("length", [1.0, 37.0, 600.0, 5_000.0, 86_400.0, 1e6, 1e7, 1e8, 1e9])
def test_there_are_never_too_many_ticks(length: float) -> None:
    assert len(hours.ticks(START, START + length)) <= 11


def test_a_line_breaks_where_nothing_is_known() -> None:
    at, value = days(1.0, 2.0, np.nan, 3.0, 4.0)
    drawn = lines(ABOUT, [Series("live", at, value)]).picture
    path = re.search(r'<path class="series one" d="([^"]*)"', drawn)
    assert path is not None
    assert path[1].count("M") == 2
    assert path[1].startswith("M0.0 ")
    assert stretches(np.isfinite(value)) == [(0, 2), (3, 5)]


def test_a_point_that_stands_alone_is_a_marker() -> None:
    at, value = days(np.nan, 2.0, *[np.nan] * 30, 1.0)
    drawn = lines(ABOUT, [Series("live", at, value)]).picture
    assert drawn.count('class="series one" x=') + drawn.count('<svg x="') >= 2
    assert drawn.count('class="shape"') == 2


def test_every_line_has_a_shape_of_its_own_and_the_rule_is_what_others_are_compared_with() -> None:
    at, value = days(1.0, 2.0, 3.0)
    names = ["first", "the rule", "second", "third"]
    found = [Series(name, at, value + row, kind="other" if row == 1 else "") for row, name in enumerate(names)]
    drawn = lines(ABOUT, found)
    assert re.findall(r'<path class="series (\w+)"', drawn.picture) == ["one", "other", "three", "four"]
    assert [each for each in KINDS if f'class="series {each}"' in drawn.legend] == ["one", "other", "three", "four"]
    shapes = set(re.findall(r'class="shape" d="([^"]*)"', drawn.legend))
    assert len(shapes) == 4


def test_points_tell_their_figures_and_what_happened_there() -> None:
    at, value = days(0.25, 0.5)
    series = Series("live", at, value, value - 0.1, value + 0.1, tells=["12 decisions", "30 decisions"])
    drawn = lines(ABOUT, [series], [Mark(START + DAY - 60, "promoted v3")]).picture
    tips = re.findall(r'data-tip="([^"]*)"', drawn)
    assert tips == [
        "2026-11-02 00:00 UTC\n0.25 (0.15 to 0.35) · 12 decisions",
        "2026-11-03 00:00 UTC\n0.50 (0.40 to 0.60) · 30 decisions\n2026-11-02 23:59 UTC: promoted v3",
    ]
    assert '<text class="flag"' in drawn


def test_a_chart_brings_all_that_it_was_drawn_from_and_no_gaps() -> None:
    at, value = days(0.25, np.nan)
    found = lines(ABOUT, [Series("live", at, value, value, value), Series("rule", at, value + 1)], (), Drawn("reward"))
    assert found.name == "reward"
    assert found.table.columns == ["time", "line", "reward", "low", "high"]
    assert found.table.rows == [
        ["2026-11-02 00:00 UTC", "live", 0.25, 0.25, 0.25],
        ["2026-11-02 00:00 UTC", "rule", 1.25, None, None],
    ]


def test_a_picture_says_aloud_where_its_lines_end() -> None:
    at, value = days(0.25, 0.5)
    drawn = lines(ABOUT, [Series("share", at, value)], (), Drawn(shares=True)).picture
    assert 'role="img"' in drawn
    assert "At the end: share: 50 %." in drawn
    nothing = lines(ABOUT, [Series("share", at, value * np.nan)]).picture
    assert "There is nothing to draw yet." in nothing
    assert "NaN" not in nothing
    assert ">nan<" not in nothing


def test_no_lines_at_all_are_a_picture_too() -> None:
    assert "There is nothing to draw yet." in lines(ABOUT, []).picture


def test_labels_at_line_ends_stand_apart() -> None:
    assert apart([50.0, 52.0, 53.0], 22.0, 200.0) == [50.0, 65.0, 80.0]
    assert apart([190.0, 195.0], 22.0, 200.0) == [185.0, 200.0]
    assert apart([], 22.0, 200.0) == []


def test_lines_that_end_early_have_no_label_at_the_edge() -> None:
    at, value = days(1.0, 2.0, 3.0, 4.0)
    ended = np.where(np.arange(4) < 2, value, np.nan)
    drawn = lines(ABOUT, [Series("goes on", at, value), Series("ended", at, ended)]).picture
    assert re.findall(r'class="end series \w+"[^>]*>([^<]*)<', drawn) == ["goes on"]
    assert 'class="plot labelled"' in drawn


def test_a_share_that_begins_at_zero_is_drawn_from_zero() -> None:
    at, value = days(0.4, 0.5)
    drawn = lines(ABOUT, [Series("share", at, value)], (), Drawn(shares=True, zero=True)).picture
    assert ">0 %</text>" in drawn


GRID = Grid(
    ["low", "high"],
    ["am", "pm"],
    [
        [Cell(0.0, "low, am"), Cell(100.0, "low, pm", "/?x=1&y=2")],
        [Cell(float("nan")), Cell(25.0, "high, pm", "/?x=2")],
    ],
    "openness",
    "time",
    "decisions",
)


def test_the_deeper_a_cell_the_more_is_in_it() -> None:
    drawn = heat(About("cover", "Coverage"), GRID)
    assert re.findall(r'fill-opacity="([\d.]+)" x=', drawn.picture) == ["0.62", "0.35"]
    assert (depth(0.0, 10.0), depth(10.0, 10.0), depth(0.0, 0.0)) == (PALEST, DEEPEST, PALEST)
    assert drawn.picture.count('class="cell none"') == 2
    assert drawn.table.rows[1] == ["low", "pm", 100.0]
    assert drawn.table.rows[2] == ["high", "am", None]


def test_cells_lead_on_and_the_picture_may_be_walked_through() -> None:
    drawn = heat(About("cover", "Coverage"), GRID).picture
    assert 'href="/?x=1&amp;y=2" aria-label="low, pm"' in drawn
    assert 'role="group"' in drawn
    still = heat(About("cover", "Coverage"), GRID._replace(cells=[[Cell(1.0)] * 2] * 2)).picture
    assert 'role="img"' in still


def test_bars_begin_at_nothing_and_intervals_reach_over_them() -> None:
    rows = [Row("watch", [0.5, 0.25], [0.4, 0.2], [0.6, 0.3]), Row("listen", [float("nan"), 0.1])]
    drawn = bars(About("shares", "Shares"), rows, Groups(("live", "rule"), "share", shares=True))
    widths = re.findall(r'class="bar \w+" data-tip="[^"]*" x="0%" width="([\d.]+)%"', drawn.picture)
    assert [round(float(each), 2) for each in widths] == [81.7, 40.85, 16.34]
    assert drawn.picture.count('class="whisker"') == 2
    assert "watch\nlive: 50 %" in drawn.picture
    assert drawn.table.rows[0] == ["watch", "live", 0.5, 0.4, 0.6]


def test_long_names_keep_their_beginning_and_their_end() -> None:
    assert [clipped("medium/balanced/familiar", most) for most in (30, 12, 3)] == [
        "medium/balanced/familiar",
        "medium…iliar",
        "m…r",
    ]
    drawn = bars(About("x", "X"), [Row("medium/balanced/familiar", [1.0])], Groups(("live",), "reward")).picture
    assert "<title>medium/balanced/familiar</title>medium/balanced/familiar</text>" in drawn
    assert re.findall(r'class="label (\w+)"', drawn) == ["full", "short"]


def test_bars_that_are_all_below_nothing_end_at_it() -> None:
    drawn = bars(About("x", "X"), [Row("loss", [-0.004]), Row("more", [-0.002])], Groups(("live",), "value")).picture
    places = re.findall(r'class="bar one" data-tip="[^"]*" x="(\d+)%" width="(\d+)%"', drawn)
    assert places == [("0", "100"), ("50", "50")]
    assert ">1.0</text>" in bars(About("x", "X"), [Row("same", [0.0])], Groups(("live",), "value")).picture


def test_names_have_two_lines_where_there_is_little_room() -> None:
    assert halves("medium/balanced/familiar", 17) == ("medium/balanced/", "familiar")
    assert halves("low/balanced/mixed → medium/focused/mixed", 17) == ("low/balanced/mixed →", "medium/focused/mixed")
    assert halves("supercalifragilistic", 17) == ("supercalif", "ragilistic")
    drawn = bars(About("x", "X"), [Row("medium/balanced/familiar", [1.0])], Groups(("live",), "reward")).picture
    assert re.findall(r"<tspan[^>]*>([^<]*)<", drawn) == ["medium/balanced/", "familiar"]


def test_bars_below_nothing_go_to_the_left() -> None:
    drawn = bars(About("x", "X"), [Row("loss", [-1.0]), Row("gain", [1.0])], Groups(("live",), "reward")).picture
    places = re.findall(r'class="bar one" data-tip="[^"]*" x="([\d.]+)%" width="([\d.]+)%"', drawn)
    assert [(round(float(x)), round(float(width))) for x, width in places] == [(0, 50), (50, 50)]


def test_the_ladder_says_where_a_version_stands() -> None:
    names = rungs(True, (0.1, 0.5, 1.0))
    assert names == ["candidate", "shadow", "trial at 10\xa0%", "trial at 50\xa0%", "live"]
    drawn = ladder([Rung(each) for each in names], 2)
    assert drawn.count('class="done"') == 3
    assert re.findall(r'<li[^>]*aria-current="step"[^>]*><b>([^<]*)', drawn) == ["trial at 10\xa0%"]
    assert "aria-current" not in ladder([Rung(each) for each in names], -1)
    assert rungs(False, (1.0,)) == ["candidate", "live"]


def test_a_spark_needs_two_points() -> None:
    assert spark(np.array([1.0])) == ""
    drawn = spark(np.array([0.0, 1.0, np.nan, 0.5, 0.25]))
    assert re.search(r'd="([^"]*)"', drawn)[1] == "M0.0 22.0L25.0 2.0M75.0 12.0L100.0 17.0"  # type: ignore[index]  # there


def test_hostile_names_are_text_in_every_picture() -> None:
    name = '<script>alert("1")</script>'
    at, value = days(1.0, 2.0)
    drawn = [
        lines(About("a", name, name), [Series(name, at, value), Series("b", at, value)], [Mark(START, name)]),
        heat(About("b", name, name), Grid([name], [name], [[Cell(1.0, name, "/")]], name, name, name)),
        bars(About("c", name, name), [Row(name, [1.0])], Groups((name,), name)),
    ]
    for each in drawn:
        assert "<script" not in each.picture + each.legend
        assert "&lt;script" in each.picture
