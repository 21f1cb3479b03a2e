// Bundles what browsers load into the server's static files, and writes down the style that Plot puts into its drawings,
// so that the content security policy can name its hash.
import { createHash } from "node:crypto";
import { readFile, mkdir, rm, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import path from "node:path";
import * as esbuild from "esbuild";

const here = path.dirname(fileURLToPath(import.meta.url));
const target = path.resolve(here, process.argv[2] ?? "../src/agentcache/design/static/design/built");

// htmx hands text to the parser. Trusted Types forbid that, unless the text passed a policy: the one in src/markup.js.
const PARSES = ["Document.parseHTMLUnsafe(resp)", "parser.parseFromString(resp, 'text/html')"];
const trustedMarkup = {
  name: "trusted-markup",
  setup(build) {
    build.onLoad({ filter: /htmx\.esm\.js$/ }, async ({ path: file }) => {
      const source = await readFile(file, "utf8");
      if (PARSES.some((call) => source.split(call).length !== 2)) {
        throw new Error("htmx parses answers elsewhere now; look at it again");
      }
      const markup = JSON.stringify(path.join(here, "src/markup.js"));
      const contents = `import { trusted } from ${markup};\n` +
        PARSES.reduce((text, call) => text.replace(call, call.replace("(resp", "(trusted(resp)")), source);
      return { contents, loader: "js" };
    });
  },
};

function plotStyle(className, source) {
  const found = /svg\.append\("style"\)\.text\(\s*`([^`]*)`/.exec(source);
  if (!found) throw new Error("Plot writes its style elsewhere now; look at it again");
  const style = found[1].replaceAll("${className}", className);
  if (style.includes("${")) throw new Error("Plot's style has other variables now; look at it again");
  return style;
}

await rm(target, { recursive: true, force: true });
await mkdir(target, { recursive: true });
await esbuild.build({
  entryPoints: ["app", "page", "charts"].map((name) => path.join(here, "src", `${name}.js`)),
  outdir: target,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  legalComments: "eof",
  plugins: [trustedMarkup],
  logLevel: "warning",
});
const plot = await readFile(path.join(here, "node_modules/@observablehq/plot/src/plot.js"), "utf8");
const { CLASS_NAME } = await import("./src/plot_class.js");
const style = plotStyle(CLASS_NAME, plot);
const hash = `sha256-${createHash("sha256").update(style).digest("base64")}`;
await writeFile(path.join(target, "plot-style.json"), `${JSON.stringify({ className: CLASS_NAME, style, hash }, null, 2)}\n`);
