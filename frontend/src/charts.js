// Draws a chart's values with Observable Plot, by the rules that the table follows, too: sums are zero where nothing
// happened, averages break; the bucket that still runs is dotted; a lone point is a dot; no animation.
import * as Plot from "@observablehq/plot";
import * as data from "./chart_data.js";
import { CLASS_NAME } from "./plot_class.js";

const HEIGHT = 260;
const NARROW = 480;
// A step in dash per series, so that lines can be told apart without colour.
const DASHES = ["", "7 3", "2 3", "9 3 2 3", "4 2", "1 2"];

const tickCount = (width) => Math.max(5, Math.floor(width / 110));
const colour = (tone) => `var(--series-${tone})`;

function lineMarks(chart) {
  return chart.series.flatMap((series, index) => {
    const rows = data.rowsOf(chart, series.values, series);
    const { closed, open } = data.splitOpen(rows, chart.isLastOpen);
    const look = { x: "at", y: "value", stroke: colour(series.tone), strokeWidth: 1.9, curve: "linear", ariaHidden: true };
    const former = series.before ? data.rowsOf(chart, series.before, series) : [];
    const before = [
      Plot.line(former, { ...look, strokeWidth: 1.3, strokeOpacity: 0.5 }),
      Plot.dot(data.isolated(former), { x: "at", y: "value", fill: colour(series.tone), fillOpacity: 0.5, r: 2, ariaHidden: true }),
    ];
    const dash = chart.series.length > 1 ? DASHES[index % DASHES.length] : "";
    return [
      ...before,
      Plot.line(closed, { ...look, ...(dash && { strokeDasharray: dash }) }),
      Plot.line(open, { ...look, strokeDasharray: "1 4", strokeLinecap: "round" }),
      Plot.dot(data.isolated(rows), { x: "at", y: "value", fill: colour(series.tone), r: 3, ariaHidden: true }),
    ];
  });
}

function barMarks(chart) {
  const rects = data.stack(chart);
  const look = { x1: "x1", x2: "x2", y1: "y1", y2: "y2", fill: (row) => colour(row.tone), ariaHidden: true };
  return [
    Plot.rect(rects.filter((row) => !row.isOpen), look),
    Plot.rect(rects.filter((row) => row.isOpen), {
      ...look, fillOpacity: 0.35, stroke: (row) => colour(row.tone), strokeDasharray: "1 3",
    }),
    ...beforeLine(chart),
  ];
}

function areaMarks(chart) {
  const rects = data.stack(chart);
  const byTone = { x: "at", y1: "y1", y2: "y2", z: "label", ariaHidden: true };
  const closed = chart.isLastOpen ? rects.filter((row) => !row.isOpen) : rects;
  const last = chart.starts.length - 1;
  return [
    Plot.areaY(closed, { ...byTone, fill: (row) => colour(row.tone), fillOpacity: 0.3 }),
    Plot.line(closed, { x: "at", y: "y2", z: "label", stroke: (row) => colour(row.tone), strokeWidth: 1.6, ariaHidden: true }),
    ...(chart.isLastOpen
      ? [Plot.line(rects.filter((row) => row.index >= last - 1), { x: "at", y: "y2", z: "label", stroke: (row) => colour(row.tone), strokeDasharray: "1 4", ariaHidden: true })]
      : []),
    ...beforeLine(chart),
  ];
}

function beforeLine(chart) {
  const before = data.totalBefore(chart);
  if (!before) return [];
  const half = chart.kind === "bars" ? data.bucketLength(chart.starts) / 2 : 0;
  const rows = before.map((value, index) => ({ at: new Date(+new Date(chart.starts[index]) + half), value }));
  return [Plot.line(rows, { x: "at", y: "value", stroke: "currentColor", strokeWidth: 1.3, strokeOpacity: 0.75, ariaHidden: true })];
}

function tip(chart) {
  const length = chart.kind === "bars" ? data.bucketLength(chart.starts) / 2 : 0;
  const rows = chart.starts.map((start, index) => ({ at: new Date(+new Date(start) + length), index }));
  const pointer = Plot.pointerX({ x: "at" });
  return [
    Plot.ruleX(rows, { ...pointer, stroke: "currentColor", strokeOpacity: 0.45, ariaHidden: true }),
    Plot.tip(rows, {
      ...Plot.pointerX({ x: "at" }), frameAnchor: "top", anchor: "top", title: (row) => data.tipLines(chart, row.index),
      fill: "var(--raised)", stroke: "var(--line)", textPadding: 9, lineHeight: 1.45, fontSize: 12, pathFilter: "none", ariaHidden: true,
    }),
  ];
}

function figure(chart, width) {
  const marks = { bars: barMarks, lines: lineMarks, areas: areaMarks }[chart.kind](chart);
  const [low, high] = data.extent(chart);
  const length = data.bucketLength(chart.starts);
  const first = new Date(chart.starts[0]);
  const end = new Date(+new Date(chart.starts.at(-1)) + (chart.kind === "bars" ? length : 0));
  return Plot.plot({
    className: CLASS_NAME,
    width, height: width < NARROW ? 210 : HEIGHT,
    marginLeft: 54, marginRight: 12, marginTop: 12, marginBottom: 26,
    ariaLabel: chart.title, ariaDescription: chart.caption,
    x: { type: "utc", domain: [first, end], label: null, ticks: tickCount(width) },
    y: { domain: [low, high || (low ? 0 : 1)], nice: true, label: null },
    marks: [
      Plot.gridY({ stroke: "var(--line)", strokeOpacity: 1, ticks: 4 }),
      Plot.axisY({ ticks: 4, tickSize: 0, tickFormat: (value) => data.tick(value, chart.unit), fontSize: 11.5 }),
      Plot.axisX({ tickSize: 0, tickPadding: 8, fontSize: 11.5, ticks: tickCount(width) }),
      ...marks,
      Plot.ruleY([0], { stroke: "var(--line-strong)", ariaHidden: true }),
      ...tip(chart),
    ],
  });
}

const SVG = "http://www.w3.org/2000/svg";

function swatch(tone, dash) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", `legend-line tone-${tone}`);
  svg.setAttribute("viewBox", "0 0 18 8");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(SVG, "path");
  line.setAttribute("d", dash === null ? "M1 4h16" : "M0 4h18");
  line.setAttribute("stroke", "currentColor");
  line.setAttribute("stroke-width", dash === null ? "8" : "2");
  if (dash) line.setAttribute("stroke-dasharray", dash);
  svg.append(line);
  return svg;
}

function legend(chart) {
  const list = document.createElement("ul");
  list.className = "legend";
  chart.series.forEach((series, index) => {
    const item = document.createElement("li");
    const dash = chart.kind === "lines" ? (chart.series.length > 1 ? DASHES[index % DASHES.length] : "") : null;
    item.append(swatch(series.tone, dash), series.label);
    list.append(item);
  });
  if (chart.series.some((series) => series.before)) {
    const item = document.createElement("li");
    item.className = "quiet";
    item.textContent = `${chart.kind === "lines" ? "lighter" : "grey line"}: the period before`;
    list.append(item);
  }
  if (chart.isLastOpen) {
    const item = document.createElement("li");
    item.className = "quiet";
    item.textContent = "dotted: not over yet";
    list.append(item);
  }
  return list;
}

export function draw(place) {
  const source = document.getElementById(place.dataset.chart);
  if (!source || "drawn" in place.dataset) return;
  place.dataset.drawn = "";
  const chart = JSON.parse(source.textContent);
  place.hidden = false;
  place.closest("figure")?.querySelector("details.chart-table")?.removeAttribute("open");
  let width = 0;
  const render = () => {
    const now = Math.round(place.clientWidth);
    if (now === width || now < 50) return;
    width = now;
    const drawing = figure(chart, width);
    drawing.setAttribute("role", "img");
    place.replaceChildren(legend(chart), drawing);
  };
  render();
  new ResizeObserver(render).observe(place);
}
