from tests.support.prewarm_project import people, provider, settings, team  # noqa: F401 - fixtures
