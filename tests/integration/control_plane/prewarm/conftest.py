from tests.support.django_project import migrated_sqlite  # noqa: F401 - fixtures
from tests.support.prewarm_project import people, provider, settings, team  # noqa: F401 - fixtures
