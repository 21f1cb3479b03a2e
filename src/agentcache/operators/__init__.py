"""Who runs the server: the first operator's set-up link, the console, and seeing the product as a user does."""
