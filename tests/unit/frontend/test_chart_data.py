"""Runs the tests of what browsers draw, in the Node.js that builds it."""

import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agentcache.design.charts import Chart, Series

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
MODULE = ROOT / "frontend" / "src" / "chart_data.js"


@pytest.fixture(scope="module")
def node():
    # scripts/frontend puts one beside this Python where the machine has none.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    found = shutil.which("node", path=path)
    assert found is not None, "there is no Node.js; scripts/frontend installs one"
    return found


def test_the_rules_of_charts_hold_in_the_browsers_code(node):
    finished = subprocess.run([node, "--test", "--test-reporter=tap", str(HERE / "chart_data.test.mjs")],
                              capture_output=True, text=True)  # fmt: skip
    assert finished.returncode == 0, finished.stdout + finished.stderr
    passed = re.search(r"^# pass (\d+)$", finished.stdout, re.MULTILINE)
    assert passed is not None
    assert int(passed[1]) == (HERE / "chart_data.test.mjs").read_text().count('\ntest("')


@pytest.mark.parametrize(("unit", "gap"), [("count", 0), ("usd", 0), ("tokens", 0), ("percent", None), ("ms", None)])
def test_what_the_server_sends_is_drawn_as_its_table_says(node, unit, gap):
    starts = [datetime(2027, 1, 15, hour, tzinfo=UTC) for hour in range(3)]
    chart = Chart("x", "X", "", "lines", unit, starts, [Series("A", [1.5, None, 3.0], before=[None, 2.0, None])],
                  is_last_open=True)  # fmt: skip
    program = f"""
import * as data from {json.dumps(MODULE.as_uri())};
const chart = JSON.parse(process.argv[1]);
const [series] = chart.series;
console.log(JSON.stringify({{
  values: data.rowsOf(chart, series.values, series).map((row) => row.value),
  at: data.rowsOf(chart, series.values, series).map((row) => row.at),
  before: data.rowsOf(chart, series.before, series).map((row) => row.value),
  tip: data.tipLines(chart, 1).split("\\n"),
}}));
"""
    command = [node, "--input-type=module", "--eval", program, json.dumps(chart.as_json())]
    finished = subprocess.run(command, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    drawn = json.loads(finished.stdout)
    assert drawn["values"] == [row[1][0] for row in chart.rows] == [1.5, gap, 3.0]
    assert drawn["before"] == [row[1][1] for row in chart.rows] == [gap, 2.0, gap]
    assert [datetime.fromisoformat(at) for at in drawn["at"]] == starts
    assert drawn["tip"][0] == chart.rows[1][0] == "2027-01-15 01:00"
    assert chart.rows[2][0].endswith("(so far)")
    assert starts[1] - starts[0] == timedelta(hours=1)
