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

from agentcache.kit import setting_values as values
from agentcache.kit.egress.allow_list import AllowList
from agentcache.kit.errors import AgentCacheError
from agentcache.kit.setting_values import Setting

PREFIX: Final = "AGENTCACHE_"
UPSTREAM_PREFIX: Final = "AGENTCACHE_UPSTREAM_"
#: Read by our test suite and by client libraries that may share a shell with the server; never by the server.
_FOREIGN_PREFIXES: Final = ("AGENTCACHE_TEST_",)
_FOREIGN_NAMES: Final = frozenset({"AGENTCACHE_API_KEY", "AGENTCACHE_BASE_URL", "AGENTCACHE_CHROMIUM"})
#: First path segments that are ours (now, or named in the design), so that no provider may be called so.
_RESERVED: Final = (
    "account accounts admin affiliates analytics api apps assets auth billing cache connect console dashboard demo dev "
    "developers docs files forgot graphql healthz help integrations invitations invite jobs keys listeners login logout "
    "mcp media metrics oauth pricing prewarm problems readyz reauthenticate resend reset settings signup static status "
    "teams tokens v1 verify webhooks well-known"
)
RESERVED_UPSTREAM_NAMES: Final = frozenset(_RESERVED.split())


class SettingError(AgentCacheError):
    """A setting is wrong."""

    code = "invalid_setting"


UPSTREAMS: Final = Setting(
    "AGENTCACHE_UPSTREAM_<NAME>",
    "upstreams",
    values.base_url,
    None,
    "Base URL of a provider, with or without a trailing /v1; a name that is not built in adds an OpenAI-compatible "
    "provider at /<name>/v1/.",
    "AGENTCACHE_UPSTREAM_OPENAI=http://127.0.0.1:9000/v1",
)

SETTINGS: Final[tuple[Setting, ...]] = (
    Setting(
        "AGENTCACHE_HOST",
        "host",
        values.host,
        "127.0.0.1",
        "Address or host name on which the server listens.",
        "0.0.0.0",
    ),
    Setting(
        "AGENTCACHE_PORT",
        "port",
        values.whole_number(0, 65535),
        "8787",
        "TCP port on which the server listens; 0 takes any free one.",
        "80",
    ),
    Setting(
        "AGENTCACHE_DATA_DIR",
        "data_dir",
        values.directory,
        "./data",
        "Directory of the embedded databases, the secret key and run-time files.",
        "/var/lib/agentcache",
    ),
    Setting(
        "AGENTCACHE_DATABASE_URL",
        "database_url",
        values.database_url,
        None,
        "Database of accounts, teams, keys and usage; without it the file app.db in the data directory.",
        "postgresql://agentcache@db/agentcache",
        is_secret=True,
    ),
    Setting(
        "AGENTCACHE_REDIS_URL",
        "redis_url",
        values.redis_url,
        None,
        "Redis or Valkey that keeps the cache entries (redis+cluster:// for a cluster); without it the file cache.db "
        "in the data directory.",
        "redis://cache:6379/0",
        is_secret=True,
    ),
    UPSTREAMS,
    Setting(
        "AGENTCACHE_WORKERS", "workers", values.whole_number(1, 256), "1", "Server processes that share the port.", "4"
    ),
    Setting(
        "AGENTCACHE_SECRET_KEY",
        "secret_key",
        values.secret,
        None,
        "Secret of at least 32 bytes from which all keys are derived; without it the file secret.key in the data "
        "directory, made on the first start.",
        "the output of: openssl rand -hex 32",
        is_secret=True,
    ),
    Setting(
        "AGENTCACHE_SECRET_KEY_FALLBACKS",
        "secret_key_fallbacks",
        values.secret_list,
        "",
        "Former secret keys, newest first, comma-separated: what they encrypted stays readable.",
        "the former value of AGENTCACHE_SECRET_KEY",
        is_secret=True,
    ),
    Setting(
        "AGENTCACHE_PUBLIC_URL",
        "public_url",
        values.origin_url,
        None,
        "Where people and programs reach this server from outside; used in links and file URLs.",
        "https://cache.example.com",
    ),
    Setting(
        "AGENTCACHE_ALLOWED_HOSTS",
        "allowed_hosts",
        values.host_list,
        "",
        "Further Host header values to accept, comma-separated; loopback, the listening host and the host of "
        "AGENTCACHE_PUBLIC_URL are always accepted.",
        "cache.example.com,*.internal.example.com",
    ),
    Setting(
        "AGENTCACHE_LOG_LEVEL",
        "log_level",
        values.one_of("debug", "info", "warning", "error"),
        "info",
        "Least level of what is logged.",
        "warning",
    ),
    Setting(
        "AGENTCACHE_DEFAULT_TTL_SECONDS",
        "default_ttl_seconds",
        values.whole_number(1, 10 * 365 * 86400),
        "604800",
        "Freshness lifetime of an entry when the caller names none.",
        "86400",
    ),
    Setting(
        "AGENTCACHE_STALE_GRACE_SECONDS",
        "stale_grace_seconds",
        values.whole_number(0, 365 * 86400),
        "86400",
        "How long an entry is kept beyond its lifetime, for callers that accept it when the provider fails (stale-if-error).",
        "3600",
    ),
    Setting(
        "AGENTCACHE_CACHE_MAX_BYTES",
        "cache_max_bytes",
        values.byte_size(1024**2),
        "10GiB",
        "Size of all entries together, beyond which the least recently used are evicted.",
        "50GiB",
    ),
    Setting(
        "AGENTCACHE_ENTRY_MAX_BYTES",
        "entry_max_bytes",
        values.byte_size(1024, 512 * 1024**2),
        "8MiB",
        "Largest answer that is stored.",
        "2MiB",
    ),
    Setting(
        "AGENTCACHE_BODY_MAX_BYTES",
        "body_max_bytes",
        values.byte_size(1024, 1024**3),
        "10MiB",
        "Largest request body that is accepted.",
        "50MiB",
    ),
    Setting(
        "AGENTCACHE_ENCRYPT_ENTRIES",
        "encrypt_entries",
        values.boolean,
        "off",
        "Encrypt stored answers with a key per team.",
        "on",
    ),
    Setting(
        "AGENTCACHE_STORE_BUDGET_MS",
        "store_budget_ms",
        values.whole_number(1, 60_000),
        "50",
        "Longest time in milliseconds that a slow store may cost one request before the cache is passed by.",
        "100",
    ),
    Setting(
        "AGENTCACHE_UPSTREAM_CONNECT_SECONDS",
        "upstream_connect_seconds",
        values.seconds(0.001, 300),
        "5",
        "Longest time to open a connection to a provider.",
        "2.5",
    ),
    Setting(
        "AGENTCACHE_UPSTREAM_FIRST_BYTE_SECONDS",
        "upstream_first_byte_seconds",
        values.seconds(0.001, 86400),
        "600",
        "Longest wait for the head of a provider's answer.",
        "120",
    ),
    Setting(
        "AGENTCACHE_UPSTREAM_IDLE_SECONDS",
        "upstream_idle_seconds",
        values.seconds(0.001, 86400),
        "60",
        "Longest silence between two pieces of a provider's answer.",
        "30",
    ),
    Setting(
        "AGENTCACHE_UPSTREAM_TOTAL_SECONDS",
        "upstream_total_seconds",
        values.seconds(0.001, 86400),
        "1800",
        "Longest time for a provider's whole answer.",
        "600",
    ),
    Setting(
        "AGENTCACHE_UPSTREAM_MAX_CONNECTIONS",
        "upstream_max_connections",
        values.whole_number(1, 100_000),
        "1000",
        "Most connections to providers that one server process keeps open at once.",
        "200",
    ),
    Setting(
        "AGENTCACHE_PRICES_FILE",
        "prices_file",
        values.readable_file,
        None,
        "JSON file with your own prices per model, which win over the built-in ones.",
        "/etc/agentcache/prices.json",
    ),
    Setting(
        "AGENTCACHE_METRICS_PORT",
        "metrics_port",
        values.whole_number(1, 65535),
        None,
        "Extra port that serves /metrics without a key; without it /metrics needs a key with the admin scope.",
        "9464",
    ),
    Setting(
        "AGENTCACHE_EGRESS_ALLOW",
        "egress_allow",
        AllowList.parse,
        "",
        "Internal networks and hosts that webhooks may reach, comma-separated, over http and any port too.",
        "10.20.0.0/16,hooks.internal.example.com",
    ),
    Setting(
        "AGENTCACHE_DRAIN_SECONDS",
        "drain_seconds",
        values.seconds(0, 3600),
        "30",
        "How long running requests may go on after the server was told to stop.",
        "5",
    ),
    Setting(
        "AGENTCACHE_TRUSTED_PROXIES",
        "trusted_proxies",
        values.whole_number(0, 10),
        "0",
        "Reverse proxies in front of the server; with at least 1, X-Forwarded-Proto is believed on the pages, and "
        "X-Forwarded-For as far as they wrote it.",
        "1",
    ),
    Setting(
        "AGENTCACHE_SESSION_IDLE_MINUTES",
        "session_idle_minutes",
        values.whole_number(1, 60),
        "60",
        "A session on the pages or the account API ends when it was not used for this long.",
        "15",
    ),
    Setting(
        "AGENTCACHE_SESSION_HOURS",
        "session_hours",
        values.whole_number(1, 12),
        "12",
        "A session ends this long after signing in, used or not.",
        "8",
    ),
    Setting(
        "AGENTCACHE_GITHUB_CLIENT_ID",
        "github_client_id",
        values.token,
        None,
        "Client id of an OAuth app at GitHub; with the secret it offers signing in with GitHub.",
        "Iv1.0123456789abcdef",
    ),
    Setting(
        "AGENTCACHE_GITHUB_CLIENT_SECRET",
        "github_client_secret",
        values.token,
        None,
        "Client secret of the OAuth app at GitHub.",
        "the secret that GitHub shows once",
        is_secret=True,
    ),
    Setting(
        "AGENTCACHE_GITHUB_URL",
        "github_url",
        values.origin_url,
        "https://github.com",
        "Another GitHub to sign in with: an Enterprise Server.",
        "https://github.example.com",
    ),
    Setting(
        "AGENTCACHE_GOOGLE_CLIENT_ID",
        "google_client_id",
        values.token,
        None,
        "Client id of a web application at Google; with the secret it offers signing in with Google.",
        "0123.apps.googleusercontent.com",
    ),
    Setting(
        "AGENTCACHE_GOOGLE_CLIENT_SECRET",
        "google_client_secret",
        values.token,
        None,
        "Client secret of the web application at Google.",
        "the secret that Google shows",
        is_secret=True,
    ),
    Setting(
        "AGENTCACHE_SMTP_URL",
        "smtp_url",
        values.smtp_url,
        None,
        "SMTP server for mails; encrypted where it can be, always with smtps:// or ?starttls. Without one, mails lie in "
        "`outbox` in the data directory.",
        "smtp://user:password@mail.example.com:587?starttls",
        is_secret=True,
    ),
    Setting(
        "AGENTCACHE_MAIL_FROM",
        "mail_from",
        values.mail_address,
        None,
        "Who mails come from.",
        "AgentCache <cache@example.com>",
    ),
    Setting(
        "AGENTCACHE_OTEL_ENDPOINT",
        "otel_endpoint",
        values.base_url,
        None,
        "OTLP/HTTP endpoint to which traces are sent (needs the otel extra).",
        "http://127.0.0.1:4318",
    ),
)

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
    session_idle_minutes: int
    session_hours: int
    github_client_id: str | None
    github_client_secret: str | None = field(repr=False)
    github_url: str
    google_client_id: str | None
    google_client_secret: str | None = field(repr=False)
    smtp_url: str | None = field(repr=False)
    mail_from: str | None
    otel_endpoint: str | None

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
