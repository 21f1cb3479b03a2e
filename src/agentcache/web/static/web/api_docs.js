// Swagger UI draws dark when the root element says so; the system's choice is followed, also when it changes.
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

SwaggerUIBundle({
  url: "/api/openapi.json",
  dom_id: "#swagger-ui",
  presets: [SwaggerUIBundle.presets.apis],
  deepLinking: true,
  // The validator badge would call a foreign server.
  validatorUrl: null,
  syntaxHighlight: { theme: "monokai" },
});
