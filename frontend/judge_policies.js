// Reads a JSON list of content security policies from stdin and prints what Google's CSP Evaluator says of each.
import { text } from "node:stream/consumers";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const { CspEvaluator } = require("csp_evaluator/dist/evaluator.js");
const { CspParser } = require("csp_evaluator/dist/parser.js");

const policies = JSON.parse(await text(process.stdin));
const judged = policies.map((policy) =>
  new CspEvaluator(new CspParser(policy).csp).evaluate().map(({ severity, directive, value, description }) =>
    ({ severity, directive, value: value ?? "", description })));
process.stdout.write(JSON.stringify(judged));
