"""The public pages: thin, each renders what the modules beside this folder return."""
