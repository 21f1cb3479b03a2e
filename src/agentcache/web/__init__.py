"""The Django project: its configuration, pages, styles and middleware."""
