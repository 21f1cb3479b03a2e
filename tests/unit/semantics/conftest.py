from tests.support.django_project import (  # noqa: F401 - fixtures
    migrated_postgresql,
    migrated_sqlite,
    postgresql_project,
    project,
    sqlite_project,
)
