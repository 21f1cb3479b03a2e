"""Runs the command line: `python -m agentcache`."""

from agentcache.cli import main

if __name__ == "__main__":
    main()
