"""The pages that everybody may see: what the product is, what it costs, how this server is, and the manual."""
