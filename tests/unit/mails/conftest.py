import pytest
from django.template import engines

from agentcache.jobs.database import DatabaseThreads

TEMPLATES = {
    "mails/greeting.subject.txt": "Hello {{ name }}\nfrom us",
    "mails/greeting.txt": "{% extends 'mails/base.txt' %}{% block content %}Hi {{ name }}, go to {{ link }}{% endblock %}",
    "mails/greeting.html": "{% extends 'mails/base.html' %}{% block content %}<p>Hi {{ name }}</p>{% endblock %}",
}


@pytest.fixture
def greeting(project, monkeypatch):
    """A mail's templates, beside those of the apps."""
    from django.template.loaders.locmem import Loader

    engine = engines["django"].engine
    loaders = engine.template_loaders
    monkeypatch.setattr(engine, "template_loaders", [Loader(engine, TEMPLATES), *loaders])


@pytest.fixture
def threads(project):
    threads = DatabaseThreads(answer_within_seconds=60)
    yield threads
    threads.close()
