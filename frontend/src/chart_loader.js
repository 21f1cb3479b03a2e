// Plot is loaded only by pages that have a chart. Until it is there, and without it, the table is shown.
export async function drawCharts(root) {
  const plots = [...root.querySelectorAll("[data-chart]:not([data-drawn])")];
  if (!plots.length) return;
  const loaded = await import(document.documentElement.dataset.charts).catch(() => null);
  if (!loaded) return;
  const { draw } = loaded;
  for (const plot of plots) draw(plot);
}
