from tests.support.django_project import migrated_sqlite  # noqa: F401 - sets Django up before models are read
