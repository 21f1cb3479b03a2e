"""Configures Django from AgentCache's settings."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import django
from django.conf import settings as django_conf

from agentcache.settings import Settings
from agentcache.teams.secrets import ServerSecrets
from agentcache.web.database_url import django_database
from agentcache.web.sqlite import install_sqlite

APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "agentcache.jobs",
    "agentcache.design",
    "agentcache.mails",
    "agentcache.audit",
    "agentcache.accounts",
    "agentcache.teams",
    "agentcache.quotas",
    "agentcache.analytics",
    "agentcache.dashboard",
    "agentcache.web",
]


def configure(settings: Settings) -> None:
    """Set Django up in this process; calls with the same settings do nothing more.

    Has to come before any module with models is imported: `agentcache.*.models`, `services`, `queries`.
    """
    if django_conf.configured:
        if settings != current_settings():
            raise RuntimeError("Django is set up already in this process, for other settings")
        return
    if settings.database_url is None:
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    install_sqlite()
    django_conf.configure(**django_values(settings, ServerSecrets.of(settings).signing_keys))
    django.setup(set_prefix=False)


def current_settings() -> Settings:
    """Return the settings that Django was set up for."""
    settings: Settings = django_conf.AGENTCACHE  # type: ignore[misc]  # put there by `django_values`
    return settings


def django_values(settings: Settings, signing_keys: Sequence[str]) -> dict[str, Any]:
    """Return Django's settings; the first key signs, all verify."""
    return {
        # Never: a debug page shows settings and local variables to whoever causes an error.
        "DEBUG": False,
        "SECRET_KEY": signing_keys[0],
        "SECRET_KEY_FALLBACKS": list(signing_keys[1:]),
        "AGENTCACHE": settings,
        "ALLOWED_HOSTS": [_django_host(host) for host in settings.accepted_hosts],
        "DATABASES": {"default": django_database(settings)},
        "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
        "INSTALLED_APPS": APPS,
        "AUTH_USER_MODEL": "accounts.User",
        "MIDDLEWARE": [
            "agentcache.web.middleware.RequestId",
            "agentcache.web.middleware.SecurityHeaders",
            "agentcache.web.middleware.AllowedHost",
            "django.middleware.security.SecurityMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        "ROOT_URLCONF": "agentcache.web.urls",
        "TEMPLATES": [_TEMPLATES],
        "USE_TZ": True,
        "TIME_ZONE": "UTC",
        "LANGUAGE_CODE": "en",
        "USE_I18N": False,
        "STATIC_URL": "/static/",
        "STATICFILES_DIRS": [_swagger_ui()],
        "STORAGES": {"staticfiles": {"BACKEND": "agentcache.web.static_files.HashedNames"}},
        "LOGGING_CONFIG": None,
        "APPEND_SLASH": False,
        **_security(settings),
    }


_TEMPLATES: dict[str, Any] = {
    "BACKEND": "django.template.backends.django.DjangoTemplates",
    "APP_DIRS": True,
    "OPTIONS": {
        "context_processors": [
            "django.template.context_processors.request",
            "django.contrib.auth.context_processors.auth",
            "django.contrib.messages.context_processors.messages",
        ],
    },
}


def _security(settings: Settings) -> dict[str, Any]:
    uses_tls = (settings.public_url or "").startswith("https://")
    prefix = "__Host-" if uses_tls else ""
    return {
        "SESSION_COOKIE_NAME": f"{prefix}agentcache_session",
        "SESSION_COOKIE_SECURE": uses_tls,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "CSRF_COOKIE_NAME": f"{prefix}agentcache_csrf",
        "CSRF_COOKIE_SECURE": uses_tls,
        "CSRF_COOKIE_HTTPONLY": True,
        "CSRF_COOKIE_SAMESITE": "Lax",
        "CSRF_TRUSTED_ORIGINS": [settings.public_url] if settings.public_url else [],
        "SECURE_HSTS_SECONDS": 63072000 if uses_tls else 0,
        "SECURE_HSTS_INCLUDE_SUBDOMAINS": uses_tls,
        "SECURE_CONTENT_TYPE_NOSNIFF": True,
        "SECURE_REFERRER_POLICY": "no-referrer",
        "SECURE_CROSS_ORIGIN_OPENER_POLICY": "same-origin",
        "SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https") if settings.trusted_proxies else None,
    }


def _swagger_ui() -> str:
    # Found without an import: the files are wanted, the package would cost 15 MB.
    spec = find_spec("ninja")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("django-ninja, which carries Swagger UI, is not installed")
    return str(Path(spec.submodule_search_locations[0]) / "static")


def _django_host(host: str) -> str:
    # `*.example.com` covers the hosts below a domain; Django writes that with a leading dot.
    return host.removeprefix("*") if host.startswith("*.") else host
