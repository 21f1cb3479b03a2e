// The rules of charts, on the values that are drawn. Run by test_chart_data.py, or by `node --test` in this folder.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as data from "../../../frontend/src/chart_data.js";

const HOURS = ["2027-01-15T10:00:00+00:00", "2027-01-15T11:00:00+00:00", "2027-01-15T12:00:00+00:00", "2027-01-15T13:00:00+00:00"];

function chart(values, more = {}) {
  const series = Object.entries(values).map(([label, numbers]) => ({ label, tone: label, values: numbers, before: null }));
  const starts = HOURS.slice(0, series[0].values.length);
  return { kind: "lines", unit: "count", isLastOpen: false, starts, labels: starts.map((one) => one.slice(11, 16)), series, ...more };
}

function rows(numbers) {
  const shown = chart({ a: numbers });
  return data.rowsOf(shown, numbers, shown.series[0]);
}

const values = (some) => some.map((row) => row.value);

test("rows keep their gaps, so that a line breaks where there is no figure", () => {
  assert.deepEqual(values(rows([1, null, 3])), [1, null, 3]);
  assert.equal(+rows([1, 2])[1].at, Date.parse(HOURS[1]));
});

test("the bucket that still runs is drawn apart, joined to the one before", () => {
  const { closed, open } = data.splitOpen(rows([1, 2, 3]), true);
  assert.deepEqual(values(closed), [1, 2]);
  assert.deepEqual(values(open), [2, 3]);
});

test("without a bucket that still runs, or with that one only, nothing is drawn apart", () => {
  assert.deepEqual(values(data.splitOpen(rows([1, 2]), false).open), []);
  const { closed, open } = data.splitOpen(rows([1]), true);
  assert.deepEqual([values(closed), values(open)], [[1], []]);
});

test("a point without a neighbour gets a dot, and no other", () => {
  assert.deepEqual(values(data.isolated(rows([1, null, 2, 3]))), [1]);
  assert.deepEqual(values(data.isolated(rows([null, 5, null, 7]))), [5, 7]);
  assert.deepEqual(values(data.isolated(rows([9]))), [9]);
  assert.deepEqual(data.isolated(rows([1, 2])), []);
  assert.deepEqual(data.isolated(rows([null, null])), []);
});

test("zero is a value and no gap", () => {
  assert.deepEqual(values(data.isolated(rows([0, null, 2, 3]))), [0]);
  assert.deepEqual(data.isolated(rows([0, 0])), []);
});

test("every known figure is drawn: as a part of a line, or as a dot", () => {
  for (let mask = 0; mask < 16; mask += 1) {
    for (const isLastOpen of [false, true]) {
      const some = rows([0, 1, 2, 3].map((at) => (mask & (1 << at) ? at : null)));
      const { closed, open } = data.splitOpen(some, isLastOpen);
      const inLine = [closed, open].flatMap((part) => part.filter((row, index) => row.value !== null
        && [part[index - 1], part[index + 1]].some((other) => other !== undefined && other.value !== null)));
      const drawn = new Set([...inLine, ...data.isolated(some)].map((row) => row.index));
      const known = some.filter((row) => row.value !== null).map((row) => row.index);
      assert.deepEqual([...drawn].sort(), known, `mask ${mask}, open ${isLastOpen}`);
    }
  }
});

test("layers stand on each other in the order of the series", () => {
  const found = data.stack(chart({ hit: [1, 2], miss: [3, 0] }));
  assert.deepEqual(found.map((row) => [row.tone, row.y1, row.y2]), [["hit", 0, 1], ["hit", 0, 2], ["miss", 1, 4], ["miss", 2, 2]]);
});

test("what is below zero hangs from the line and hides nothing", () => {
  const found = data.stack(chart({ saved: [-2, 5], cost: [3, 1] }));
  assert.deepEqual(found.map((row) => [row.y1, row.y2]), [[0, -2], [0, 5], [0, 3], [5, 6]]);
  assert.deepEqual(data.extent(chart({ saved: [-2, 5], cost: [3, 1] }, { kind: "bars" })), [-2, 6]);
});

test("only the last bar of a chart that still runs is marked as open", () => {
  const shown = chart({ hit: [1, 2], miss: [3, 4] }, { kind: "bars", isLastOpen: true });
  assert.deepEqual(data.stack(shown).map((row) => row.isOpen), [false, true, false, true]);
  assert.ok(data.stack({ ...shown, isLastOpen: false }).every((row) => !row.isOpen));
});

test("bars leave room between buckets and never reach into the next", () => {
  for (const row of data.stack(chart({ hit: [1, 2, 3] }))) {
    assert.ok(row.x1 > row.at && row.x2 > row.x1 && +row.x2 < +row.at + 3_600_000);
  }
});

test("a single bucket is a day long", () => {
  assert.equal(data.bucketLength([HOURS[0]]), 86_400_000);
  assert.equal(data.bucketLength(HOURS), 3_600_000);
});

test("the period before is one sum over the layers, where there is one", () => {
  const shown = chart({ hit: [1, 2], miss: [3, 4] });
  assert.equal(data.totalBefore(shown), null);
  shown.series[0].before = [5, null];
  shown.series[1].before = [1, 2];
  assert.deepEqual(data.totalBefore(shown), [6, 2]);
});

test("the axis covers everything that is drawn, the period before too, and begins at zero", () => {
  assert.deepEqual(data.extent(chart({ p50: [1, null, 7], p99: [2, 9, null] })), [0, 9]);
  const compared = chart({ p50: [1, 2] });
  compared.series[0].before = [30, 4];
  assert.deepEqual(data.extent(compared), [0, 30]);
  assert.deepEqual(data.extent({ ...compared, kind: "bars" }), [0, 30]);
  assert.deepEqual(data.extent(chart({ p50: [null, null] })), [0, 0]);
});

test("ticks carry their one unit", () => {
  const expected = {
    count: [[0, "0"], [999, "999"], [1500, "1.5k"], [999_999, "1M"], [12_345_678, "12.3M"]],
    tokens: [[2_000_000_000, "2G"]],
    bytes: [[512, "512B"], [1536, "1.5 KiB"]],
    percent: [[0.5, "50 %"], [0.0123, "1.23 %"]],
    ms: [[0.42, "0.42 ms"], [1500, "1.5 s"]],
    seconds: [[90, "90 s"], [7200, "2 h"]],
    usd: [[0, "$0"], [0.002, "$0.002"], [1500, "$1.5k"], [-3, "-$3"], [-2500, "-$2.5k"]],
  };
  for (const [unit, pairs] of Object.entries(expected)) {
    for (const [value, text] of pairs) assert.equal(data.tick(value, unit), text, unit);
  }
});

test("the tip is exact, and a gap is a dash", () => {
  assert.equal(data.exact(null, "ms"), "–");
  assert.equal(data.exact(undefined, "count"), "–");
  assert.equal(data.exact(1234567, "count"), "1,234,567");
  assert.equal(data.exact(0.000123, "usd"), "$0.000123");
  assert.equal(data.exact(1234.5, "usd"), "$1,234.50");
  assert.equal(data.exact(-1.5, "usd"), "-$1.50");
  assert.equal(data.exact(0.1234, "percent"), "12.3 %");
});

test("the tip names the bucket, each series, and what it was before", () => {
  const shown = chart({ Hits: [1, 2], Misses: [3, null] });
  shown.series[0].before = [7, null];
  assert.equal(data.tipLines(shown, 0), "10:00\nHits: 1 (before: 7)\nMisses: 3");
  assert.equal(data.tipLines(shown, 1), "11:00\nHits: 2 (before: –)\nMisses: –");
});
