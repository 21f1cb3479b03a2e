// Public pages and the pages of signing in: everything but htmx.
import * as connection from "./connection.js";
import * as copy from "./copy.js";
import * as dialogs from "./dialogs.js";
import * as drafts from "./drafts.js";
import * as keyboard from "./keyboard.js";
import * as menus from "./menus.js";
import * as tables from "./tables.js";
import * as tabs from "./tabs.js";
import * as theme from "./theme.js";
import { drawCharts } from "./chart_loader.js";

connection.start();
copy.start();
dialogs.start();
keyboard.start();
menus.start();
theme.start();
tables.start();
tabs.start();
drafts.start();
void drawCharts(document);
