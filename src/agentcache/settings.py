"""One place that reads the environment: every setting, what it means and what it is when nobody sets it.

`SETTINGS` is the single table; values, the reference page and `agentcache doctor` all come from it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from agentcache.kit import setting_table
from agentcache.kit import setting_values as values
from agentcache.kit.egress.allow_list import AllowList
from agentcache.kit.errors import AgentCacheError
from agentcache.kit.setting_table import UPSTREAMS
from agentcache.kit.setting_values import Setting

PREFIX: Final = "AGENTCACHE_"
SETTINGS: Final = setting_table.SETTINGS
UPSTREAM_PREFIX: Final = "AGENTCACHE_UPSTREAM_"
#: Read by our test suite and by client libraries that may share a shell with the server; never by the server.
_FOREIGN_PREFIXES: Final = ("AGENTCACHE_TEST_",)
_FOREIGN_NAMES: Final = frozenset({"AGENTCACHE_API_KEY", "AGENTCACHE_BASE_URL", "AGENTCACHE_CHROMIUM"})
#: First path segments that are ours (now, or named in the design), so that no provider may be called so.
_RESERVED: Final = (
    "account accounts admin affiliates analytics api apps assets auth billing cache changelog connect console dashboard demo dev "
    "developers docs files forgot graphql healthz help integrations invitations invite jobs keys listeners login logout "
    "mcp media metrics oauth pricing prewarm problems readyz reauthenticate resend reset security settings signup static status "
    "teams tokens v1 verify webhooks well-known"
)
RESERVED_UPSTREAM_NAMES: Final = frozenset(_RESERVED.split())


class SettingError(AgentCacheError):
    """A setting is wrong."""

    code = "invalid_setting"


_BY_NAME: Final = {setting.name: setting for setting in SETTINGS if not setting.is_family}


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, checked. Sizes are bytes, durations seconds unless the name says otherwise."""

    host: str
    port: int
    data_dir: Path
    database_url: str | None = field(repr=False)
    redis_url: str | None = field(repr=False)
    upstreams: Mapping[str, str]
    workers: int
    secret_key: str | None = field(repr=False)
    secret_key_fallbacks: tuple[str, ...] = field(repr=False)
    public_url: str | None
    allowed_hosts: tuple[str, ...]
    log_level: str
    default_ttl_seconds: int
    stale_grace_seconds: int
    cache_max_bytes: int
    entry_max_bytes: int
    body_max_bytes: int
    encrypt_entries: bool
    store_budget_ms: int
    upstream_connect_seconds: float
    upstream_first_byte_seconds: float
    upstream_idle_seconds: float
    upstream_total_seconds: float
    upstream_max_connections: int
    prices_file: Path | None
    metrics_port: int | None
    egress_allow: AllowList
    drain_seconds: float
    trusted_proxies: int
    key_failures_per_minute: int
    connections_per_address: int
    connections_exempt: tuple[str, ...]
    session_idle_minutes: int
    session_hours: int
    kept_session_idle_hours: int
    kept_session_days: int
    github_client_id: str | None
    github_client_secret: str | None = field(repr=False)
    github_url: str
    github_scanning_keys_url: str | None
    google_client_id: str | None
    google_client_secret: str | None = field(repr=False)
    smtp_url: str | None = field(repr=False)
    mail_from: str | None
    core_dumps: bool
    public_figures: bool
    security_contact: str | None
    otel_endpoint: str | None
    prewarm_cost_cap_usd_nanos: int | None
    semantic_embedder: str
    semantic_api_key: str | None = field(repr=False)
    semantic_multilingual: bool
    semantic_index_url: str | None = field(repr=False)
    semantic_max_rows: int
    semantic_budget_ms: int

    @classmethod
    def load(cls) -> Settings:
        """Read the settings from the process environment; raises `SettingError`."""
        return cls.from_env(os.environ)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read the settings from a mapping of names to text; raises the first `SettingError`."""
        settings, problems = check_environ(environ)
        if settings is None:
            raise problems[0]
        return settings

    @property
    def cache_db(self) -> Path:
        """The embedded store of cache entries."""
        return self.data_dir / "cache.db"

    @property
    def app_db(self) -> Path:
        """The embedded database of accounts, teams, keys and usage."""
        return self.data_dir / "app.db"

    @property
    def semantic_db(self) -> Path:
        """The embedded index of questions and their vectors."""
        return self.data_dir / "semantic.db"

    @property
    def models_dir(self) -> Path:
        """Where models are kept that were made or fetched for this server."""
        return self.data_dir / "models"

    @property
    def calibrations_dir(self) -> Path:
        """Where it is kept how the cosines of other embedders are read."""
        return self.data_dir / "calibrations"

    @property
    def secret_key_file(self) -> Path:
        """Where the secret lives when no setting gives one."""
        return self.data_dir / "secret.key"

    def load_secrets(self) -> tuple[bytes, ...]:
        """Return the server's secrets, newest first; makes the secret file on the first start."""
        from agentcache.kit.crypto import load_or_create_secret  # costs 10 MB that the supervisor does not need

        newest = self.secret_key.encode() if self.secret_key else load_or_create_secret(self.secret_key_file)
        return (newest, *(former.encode() for former in self.secret_key_fallbacks))

    @property
    def run_dir(self) -> Path:
        """Where run-time files (sockets, process ids) go."""
        return self.data_dir / "run"

    @property
    def is_local(self) -> bool:
        """Say whether only this machine can reach the server."""
        return self.host == "localhost" or (values.is_address(self.host) and ip_address(self.host).is_loopback)

    @property
    def origin(self) -> str:
        """The URL under which callers reach the server, without a trailing slash."""
        if self.public_url is not None:
            return self.public_url
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def accepted_hosts(self) -> tuple[str, ...]:
        """Every `Host` value (without port) that is answered, lower case, IPv6 in brackets."""
        names = ["localhost", "127.0.0.1", "[::1]", f"[{self.host}]" if ":" in self.host else self.host]
        if self.public_url is not None:
            names.append((urlsplit(self.public_url).netloc.rsplit(":", 1)[0]).lower())
        return tuple(dict.fromkeys([*names, *self.allowed_hosts]))


def environ_with(overrides: Mapping[str, str]) -> dict[str, str]:
    """Return a copy of the process environment with some names replaced: what child processes get."""
    return {**os.environ, **overrides}


def check_environ(environ: Mapping[str, str]) -> tuple[Settings | None, list[SettingError]]:
    """Return the settings, or None and every problem found. An empty value counts as unset."""
    given = {name: text.strip() for name, text in sorted(environ.items()) if name.startswith(PREFIX) and text.strip()}
    problems: list[SettingError] = []
    found: dict[str, Any] = {}
    for setting in _BY_NAME.values():
        text = given.get(setting.name, setting.default)
        try:
            found[setting.field] = None if text is None else setting.parse(text)
        except ValueError as wrong:
            problems.append(_wrong_value(setting, text or "", str(wrong)))
    found["upstreams"] = _read_upstreams(given, problems)
    problems.extend(_unknown_name(name) for name in sorted(environ) if _is_unknown(name))
    if not problems:
        settings = Settings(**found)
        problems = _contradictions(settings)
        if not problems:
            return settings, []
    return None, problems


def _read_upstreams(given: Mapping[str, str], problems: list[SettingError]) -> dict[str, str]:
    upstreams: dict[str, str] = {}
    for variable, text in given.items():
        if not _is_upstream(variable):
            continue
        name = variable.removeprefix(UPSTREAM_PREFIX).lower()
        if not re.fullmatch(r"[a-z][a-z0-9_-]*", name):
            problems.append(
                SettingError(
                    f'{variable}: "{name}" cannot be a provider\'s name. Use a letter first, then letters, digits, '
                    f'"_" and "-", as in {UPSTREAM_PREFIX}OPENAI.',
                    param=variable,
                )
            )
        elif name in RESERVED_UPSTREAM_NAMES:
            problems.append(
                SettingError(
                    f"{variable}: the path /{name}/ belongs to AgentCache itself. Give the provider another name, such "
                    f"as {variable}_AI.",
                    param=variable,
                )
            )
        else:
            try:
                upstreams[name] = values.base_url(text)
            except ValueError as wrong:
                problems.append(_wrong_value(UPSTREAMS, text, str(wrong), variable))
    return upstreams


def _is_upstream(name: str) -> bool:
    return name.startswith(UPSTREAM_PREFIX) and name != UPSTREAM_PREFIX and name not in _BY_NAME


def _is_unknown(name: str) -> bool:
    if not name.startswith(PREFIX) or name in _BY_NAME or name in _FOREIGN_NAMES or name.startswith(_FOREIGN_PREFIXES):
        return False
    return not _is_upstream(name)


def _unknown_name(name: str) -> SettingError:
    return SettingError(
        f"{name} is not a setting of AgentCache.{_suggestion(name)} Unset it, or see the settings reference.",
        param=name,
    )


def _suggestion(name: str) -> str:
    near = get_close_matches(name, _BY_NAME, n=1, cutoff=0.75)
    return f" Did you mean {near[0]}?" if near else ""


def _wrong_value(setting: Setting, text: str, wrong: str, variable: str | None = None) -> SettingError:
    name = variable or setting.name
    # A URL with credentials in it is as secret as a setting that is meant to be.
    shown = "its value" if setting.is_secret or "@" in text else ascii(text[:200])
    mend = f"Set it to something like {setting.example.partition('=')[2] or setting.example}"
    if setting.default:
        mend += f", or unset it for the default, {setting.default}"
    elif setting.default is None:
        mend += ", or unset it"
    hint = _suggestion(name) if setting.is_family else ""
    return SettingError(f"{name}: {shown} {wrong}. {mend}.{hint}", param=name)


def _contradictions(settings: Settings) -> list[SettingError]:
    problems = []
    if settings.metrics_port is not None and settings.metrics_port == settings.port:
        problems.append(
            ("METRICS_PORT", f"{settings.port} is already AGENTCACHE_PORT. Choose another port, or unset it.")
        )
    if settings.entry_max_bytes > settings.cache_max_bytes:
        wrong = f"{settings.entry_max_bytes} bytes is more than the whole cache may hold ({settings.cache_max_bytes})."
        problems.append(("ENTRY_MAX_BYTES", f"{wrong} Lower it, or raise AGENTCACHE_CACHE_MAX_BYTES."))
    return [SettingError(f"{PREFIX}{name}: {wrong}", param=PREFIX + name) for name, wrong in problems]
