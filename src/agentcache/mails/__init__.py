"""Mails to people: templates, the queue, and the ways out (SMTP, or a folder on a laptop)."""
