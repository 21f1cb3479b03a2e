// What is drawn, as plain values: no Plot, no page.

/** Rows of a series: {at, value, label, tone}; `at` a Date. */
export function rowsOf(chart, values, series) {
  return chart.starts.map((start, index) => ({ at: new Date(start), value: values[index], index, label: series.label, tone: series.tone }));
}

/** Splits a line into the finished part and the part that leads into the bucket that still runs. */
export function splitOpen(rows, isLastOpen) {
  if (!isLastOpen || rows.length < 2) return { closed: rows, open: [] };
  return { closed: rows.slice(0, -1), open: rows.slice(-2) };
}

/** Rows without a neighbour on either side: a line through one point cannot be seen, so it gets a dot. */
export function isolated(rows) {
  const known = (row) => row !== undefined && row.value !== null;
  return rows.filter((row, index) => known(row) && !known(rows[index - 1]) && !known(rows[index + 1]));
}

/** Length of a bucket in milliseconds; a day when there is only one. */
export function bucketLength(starts) {
  return starts.length > 1 ? new Date(starts[1]) - new Date(starts[0]) : 86_400_000;
}

/** Stacked rectangles {x1, x2, y1, y2, …} in the order of the series: upwards from zero, and downwards what is below it. */
export function stack(chart) {
  const length = bucketLength(chart.starts);
  const tops = chart.starts.map(() => 0);
  const bottoms = chart.starts.map(() => 0);
  const pad = length * 0.1;
  return chart.series.flatMap((series) =>
    rowsOf(chart, series.values, series).filter((row) => row.value !== null).map((row) => {
      const ends = row.value < 0 ? bottoms : tops;
      const y1 = ends[row.index];
      ends[row.index] += row.value;
      return {
        ...row, y1, y2: ends[row.index],
        x1: new Date(+row.at + pad), x2: new Date(+row.at + length - pad),
        isOpen: chart.isLastOpen && row.index === chart.starts.length - 1,
      };
    }));
}

/** The sum of the period before per bucket, for a second line over stacked bars; null when there is none. */
export function totalBefore(chart) {
  const known = chart.series.filter((series) => series.before);
  if (!known.length) return null;
  return chart.starts.map((_, index) => known.reduce((sum, series) => sum + (series.before[index] ?? 0), 0));
}

const SCALES = { count: [1e3, ["", "k", "M", "G", "T"]], tokens: [1e3, ["", "k", "M", "G", "T"]], bytes: [1024, ["B", "KiB", "MiB", "GiB", "TiB"]] };

function scaled(value, step, names) {
  let at = 0;
  let rest = value;
  // By what is shown: 999,999 is 1M, not 1000k.
  while (Math.abs(Number(rest.toPrecision(3))) >= step && at < names.length - 1) { rest /= step; at += 1; }
  const text = Number(rest.toPrecision(3)).toString();
  return names[at].length > 1 ? `${text} ${names[at]}` : text + names[at];
}

/** Text of a tick on the value axis, with its unit. */
export function tick(value, unit) {
  if (unit in SCALES) return scaled(value, ...SCALES[unit]);
  if (unit === "percent") return `${Number((value * 100).toPrecision(3))} %`;
  if (unit === "ms") return value >= 1000 ? `${Number((value / 1000).toPrecision(3))} s` : `${Number(value.toPrecision(3))} ms`;
  if (unit === "seconds") return value >= 3600 ? `${Number((value / 3600).toPrecision(3))} h` : `${Number(value.toPrecision(3))} s`;
  if (unit === "usd") {
    if (value === 0) return "$0";
    if (value < 0) return `-${tick(-value, unit)}`;
    return Math.abs(value) >= 1000 ? `$${scaled(value, 1e3, SCALES.count[1])}` : `$${Number(value.toPrecision(3))}`;
  }
  return String(value);
}

/** Exact text of a value, for the tip. */
export function exact(value, unit) {
  if (value === null || value === undefined) return "–";
  if (unit === "count" || unit === "tokens") return value.toLocaleString("en-US", { maximumFractionDigits: 2 });
  if (unit === "usd" && value < 0) return `-${exact(-value, unit)}`;
  if (unit === "usd") return `$${value.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: Math.abs(value) >= 1 ? 2 : 6 })}`;
  if (unit === "percent") return `${(value * 100).toFixed(1)} %`;
  return tick(value, unit);
}

/** Lines of the tip of one bucket. */
export function tipLines(chart, index) {
  const name = chart.labels[index] ?? "";
  const lines = chart.series.map((series) => {
    const before = series.before ? ` (before: ${exact(series.before[index], chart.unit)})` : "";
    return `${series.label}: ${exact(series.values[index], chart.unit)}${before}`;
  });
  return [name, ...lines].join("\n");
}

/** The lowest and the highest value that is drawn, zero among them. */
export function extent(chart) {
  const before = chart.series.flatMap((series) => series.before ?? []);
  const own = chart.kind === "bars" || chart.kind === "areas"
    ? [...stack(chart).map((row) => row.y2), ...(totalBefore(chart) ?? [])]
    : [...chart.series.flatMap((series) => series.values), ...before];
  return own.reduce(([low, high], value) => [Math.min(low, value ?? 0), Math.max(high, value ?? 0)], [0, 0]);
}
