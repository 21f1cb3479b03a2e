// Swagger UI draws dark when the root element says so: as the page does, by its own theme or else the system's.
const root = document.documentElement;
const systemIsDark = window.matchMedia("(prefers-color-scheme: dark)");
const follow = () => {
  const isDark = root.dataset.theme === "dark" || (root.dataset.theme !== "light" && systemIsDark.matches);
  if (root.classList.contains("dark-mode") !== isDark) root.classList.toggle("dark-mode", isDark);
};
systemIsDark.addEventListener("change", follow);
new MutationObserver(follow).observe(root, { attributeFilter: ["data-theme"] });
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
