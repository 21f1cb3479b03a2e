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
from agentcache.web.security_policy import HSTS_SECONDS, uses_tls
from agentcache.web.sqlite import install_sqlite

APPS = [
    # Before the admin, whose templates it replaces.
    "agentcache.operators",
    "agentcache.operators.console_config.ConsoleConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.github",
    "allauth.socialaccount.providers.openid_connect",
    "agentcache.jobs",
    "agentcache.design",
    "agentcache.mails",
    "agentcache.audit",
    "agentcache.accounts",
    "agentcache.teams",
    "agentcache.tasks",
    "agentcache.webhooks",
    "agentcache.quotas",
    "agentcache.analytics",
    "agentcache.policies",
    "agentcache.semantics",
    "agentcache.listeners",
    "agentcache.prewarm",
    "agentcache.dashboard",
    "agentcache.site",
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
            "agentcache.web.middleware.CallerAddress",
            "agentcache.web.middleware.Sessions",
            "agentcache.web.middleware.OwnOrigin",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "agentcache.operators.middleware.ViewingAs",
            "allauth.account.middleware.AccountMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
            "agentcache.web.middleware.WrongMethod",
        ],
        "ROOT_URLCONF": "agentcache.web.urls",
        "TEMPLATES": [_TEMPLATES],
        "USE_TZ": True,
        "TIME_ZONE": "UTC",
        "LANGUAGE_CODE": "en",
        "USE_I18N": False,
        "FORMAT_MODULE_PATH": "agentcache.web.formats",
        "TEAM_SEATS": "agentcache.quotas.queries.seats_of",
        "WEBHOOK_DELIVERY_DAYS": "agentcache.quotas.queries.delivery_days_of",
        "STATIC_URL": "/static/",
        "STATICFILES_DIRS": [_swagger_ui()],
        "STORAGES": {"staticfiles": {"BACKEND": "agentcache.web.static_files.HashedNames"}},
        "LOGGING_CONFIG": None,
        "APPEND_SLASH": False,
        **_security(settings),
        **_accounts(settings),
    }


_TEMPLATES: dict[str, Any] = {
    "BACKEND": "django.template.backends.django.DjangoTemplates",
    "APP_DIRS": True,
    "OPTIONS": {
        "context_processors": [
            "django.template.context_processors.request",
            "django.contrib.auth.context_processors.auth",
            "django.contrib.messages.context_processors.messages",
            "agentcache.design.context.shell",
            "agentcache.teams.context.own_teams",
            "agentcache.operators.middleware.impersonator",
        ],
    },
}


def _security(settings: Settings) -> dict[str, Any]:
    is_tls = uses_tls(settings)
    prefix = "__Host-" if is_tls else ""
    return {
        "SESSION_COOKIE_NAME": f"{prefix}agentcache_session",
        "SESSION_COOKIE_SECURE": is_tls,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "SECURE_HSTS_SECONDS": HSTS_SECONDS if is_tls else 0,
        "SECURE_HSTS_INCLUDE_SUBDOMAINS": is_tls,
        "SECURE_CONTENT_TYPE_NOSNIFF": True,
        "SECURE_REFERRER_POLICY": "no-referrer",
        "SECURE_CROSS_ORIGIN_OPENER_POLICY": "same-origin",
        "SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https") if settings.trusted_proxies else None,
    }


def _accounts(settings: Settings) -> dict[str, Any]:
    return {
        "SESSION_ENGINE": "agentcache.accounts.session_store",
        "SESSION_COOKIE_AGE": settings.session_hours * 3600,
        "PASSWORD_HASHERS": ["agentcache.accounts.hashing.Argon2id"],
        "AUTHENTICATION_BACKENDS": ["django.contrib.auth.backends.ModelBackend"],
        "LOGIN_URL": "accounts:login",
        "LOGIN_REDIRECT_URL": "/dashboard",
        "ACCOUNT_ADAPTER": "agentcache.web.account_adapter.AccountAdapter",
        "ACCOUNT_USER_MODEL_USERNAME_FIELD": None,
        "ACCOUNT_LOGIN_METHODS": {"email"},
        "ACCOUNT_SIGNUP_FIELDS": ["email*", "password1*"],
        "ACCOUNT_EMAIL_VERIFICATION": "mandatory",
        "ACCOUNT_UNIQUE_EMAIL": True,
        "ACCOUNT_DEFAULT_HTTP_PROTOCOL": "https" if (settings.public_url or "").startswith("https://") else "http",
        # Limits of our own hold at every door, for all workers together.
        "ACCOUNT_RATE_LIMITS": False,
        "MFA_RATE_LIMITS": False,
        "MFA_ADAPTER": "agentcache.accounts.adapters.FactorAdapter",
        "MFA_SUPPORTED_TYPES": ["totp", "recovery_codes", "webauthn"],
        "SOCIALACCOUNT_ADAPTER": "agentcache.accounts.adapters.ProviderAdapter",
        "SOCIALACCOUNT_AUTO_SIGNUP": True,
        "SOCIALACCOUNT_EMAIL_VERIFICATION": "mandatory",
        # An address that a provider vouches for does not open the account that has it here.
        "SOCIALACCOUNT_EMAIL_AUTHENTICATION": False,
        "SOCIALACCOUNT_STORE_TOKENS": False,
        "SOCIALACCOUNT_PROVIDERS": _sign_in_providers(settings),
    }


def _sign_in_providers(settings: Settings) -> dict[str, Any]:
    providers: dict[str, Any] = {}
    if settings.github_client_id and settings.github_client_secret:
        providers["github"] = {
            "APPS": [{"client_id": settings.github_client_id, "secret": settings.github_client_secret}],
            # An Enterprise Server has its API below its own address; that of github.com has a host of its own.
            **({"GITHUB_URL": settings.github_url} if settings.github_url != "https://github.com" else {}),
            "SCOPE": ["read:user", "user:email"],
            "OAUTH_PKCE_ENABLED": True,
        }
    if settings.google_client_id and settings.google_client_secret:
        providers["openid_connect"] = {
            "APPS": [
                {
                    "provider_id": "google",
                    "name": "Google",
                    "client_id": settings.google_client_id,
                    "secret": settings.google_client_secret,
                    "settings": {"server_url": "https://accounts.google.com"},
                }
            ],
            "OAUTH_PKCE_ENABLED": True,
        }
    return providers


def _swagger_ui() -> str:
    # Found without an import: the files are wanted, the package would cost 15 MB.
    spec = find_spec("ninja")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("django-ninja, which carries Swagger UI, is not installed")
    return str(Path(spec.submodule_search_locations[0]) / "static")


def _django_host(host: str) -> str:
    # `*.example.com` covers the hosts below a domain; Django writes that with a leading dot.
    return host.removeprefix("*") if host.startswith("*.") else host
