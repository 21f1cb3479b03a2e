"""How Django's own pages, those of the operator console, write times."""
