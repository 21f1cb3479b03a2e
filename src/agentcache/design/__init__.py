"""The design system: tokens, components, charts, and the shell of every page. Knows no other app."""
