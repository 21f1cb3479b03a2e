// Pages of the dashboard.
import * as copy from "./copy.js";
import * as filters from "./filters.js";
import * as live from "./live.js";
import * as tables from "./tables.js";
import { drawCharts } from "./chart_loader.js";
import "./page.js";

filters.arm(document);
live.start((root) => {
  copy.showButtons(root);
  tables.scrollable(root);
  filters.arm(root.parentElement ?? root);
  void drawCharts(root);
});
