"""Settings: one table, clear errors, nothing secret shown."""

from dataclasses import fields

import pytest

from agentcache.settings import RESERVED_UPSTREAM_NAMES, SETTINGS, SettingError, Settings, check_environ


def load(**environ):
    return Settings.from_env({f"AGENTCACHE_{name}": text for name, text in environ.items()})


def test_the_table_and_the_class_name_the_same_settings_in_the_same_order():
    assert [setting.field for setting in SETTINGS] == [field.name for field in fields(Settings)]


def test_each_setting_has_a_sentence_and_an_example_that_is_valid(tmp_path):
    for setting in SETTINGS:
        assert setting.description.endswith("."), setting.name
        if not setting.is_secret and setting.field != "prices_file":
            setting.parse(setting.example.partition("=")[2] or setting.example)


def test_defaults(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = load()
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8787, 1)
    assert settings.data_dir == tmp_path / "data"
    assert settings.app_db == tmp_path / "data" / "app.db"
    assert settings.cache_db.name == "cache.db"
    assert settings.cache_max_bytes == 10 * 1024**3
    assert settings.redis_url is None
    assert settings.database_url is None
    assert not settings.encrypt_entries
    assert settings.is_local
    assert settings.origin == "http://127.0.0.1:8787"


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("CACHE_MAX_BYTES", "500MB", "cache_max_bytes", 500_000_000),
        ("CACHE_MAX_BYTES", "2gib", "cache_max_bytes", 2 * 1024**3),
        ("CACHE_MAX_BYTES", "9000000", "cache_max_bytes", 9_000_000),
        ("ENCRYPT_ENTRIES", "Yes", "encrypt_entries", True),
        ("ENCRYPT_ENTRIES", "0", "encrypt_entries", False),
        ("LOG_LEVEL", "DEBUG", "log_level", "debug"),
        ("PREWARM_COST_CAP_USD", "2.50", "prewarm_cost_cap_usd_nanos", 2_500_000_000),
        ("PREWARM_COST_CAP_USD", "None", "prewarm_cost_cap_usd_nanos", None),
        ("UPSTREAM_CONNECT_SECONDS", "2.5", "upstream_connect_seconds", 2.5),
        ("ALLOWED_HOSTS", " a.example.com, *.B.example.com", "allowed_hosts", ("a.example.com", "*.b.example.com")),
        ("REDIS_URL", "rediss+cluster://u:p@cache:6379", "redis_url", "rediss+cluster://u:p@cache:6379"),
        ("DATABASE_URL", "sqlite:///x/app.db", "database_url", "sqlite:///x/app.db"),
        ("HOST", "[::1]", "host", "::1"),
        ("PORT", "  ", "port", 8787),
    ],
)
def test_values_are_read(name, text, field, value):
    assert getattr(load(**{name: text}), field) == value


def test_upstreams_are_read_by_name():
    settings = load(UPSTREAM_OPENAI="http://127.0.0.1:9000/v1/", UPSTREAM_MY_LLM="https://LLM.example.com")
    assert settings.upstreams == {"openai": "http://127.0.0.1:9000/v1", "my_llm": "https://llm.example.com"}
    assert settings.upstream_connect_seconds == 5


WRONG = {
    "PREWARM_COST_CAP_USD": ["0", "-1", "cheap", "1e3", "1000001"],
    "PORT": ["70000", "-1", "80a", "٣", "1e3"],
    "HOST": ["http://x", "1.2.3", "a b", "a..b"],
    "WORKERS": ["0", "1000"],
    "CACHE_MAX_BYTES": ["10G", "1.5GiB", "-1", "12"],
    "ENCRYPT_ENTRIES": ["maybe"],
    "LOG_LEVEL": ["trace"],
    "DRAIN_SECONDS": ["nan", "inf", "-3", "99999"],
    "DATABASE_URL": ["mysql://x/y", "postgresql://host", "sqlite://app.db"],
    "REDIS_URL": ["http://x", "redis://", "localhost:6379"],
    "SECRET_KEY": ["short", "a" * 64],
    "SECRET_KEY_FALLBACKS": ["tooshort"],
    "PUBLIC_URL": ["https://x.example.com/sub", "x.example.com"],
    "ALLOWED_HOSTS": ["https://x", "a:80"],
    "EGRESS_ALLOW": ["10.0.0.1/8", "10.0.0.0/99", "1.2.3", "a b", "http://x"],
    "PRICES_FILE": ["/does/not/exist.json"],
    "UPSTREAM_OPENAI": [
        "ftp://x",
        "https://u:p@x/v1",
        "https://x/v1?a=b",
        "https://x/#f",
        "https://",
        "https://x:0",
        "https://x:99999",
        "https://x:/v1",
        "https://a b/",
        "https://a\\b/",
        "https://[::1",
        "https://exa\nmple.com",
    ],
    "UPSTREAM_API": ["https://x"],
    "UPSTREAM_9": ["https://x"],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in WRONG.items() for text in texts])
def test_what_is_wrong_is_named_on_one_line_with_a_remedy(name, text):
    with pytest.raises(SettingError) as caught:
        load(**{name: text})
    message = str(caught.value)
    assert message.startswith(f"AGENTCACHE_{name}: ")
    assert any(verb in message for verb in ("Set it to", "Give the", "Use a"))
    assert "\n" not in message
    assert caught.value.param == f"AGENTCACHE_{name}"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SECRET_KEY", "hunter2-hunter2"),
        ("DATABASE_URL", "mysql://u:hunter2@x/y"),
        ("REDIS_URL", "http://u:hunter2@x"),
        ("UPSTREAM_OPENAI", "https://u:hunter2@x"),
    ],
)
def test_an_error_never_shows_a_secret(name, text):
    with pytest.raises(SettingError) as caught:
        load(**{name: text})
    assert "hunter2" not in str(caught.value)


def test_repr_shows_no_secret():
    settings = load(
        SECRET_KEY="hunter2-0123456789abcdefghijklmnop",
        REDIS_URL="redis://:hunter2@x",
        DATABASE_URL="postgres://u:hunter2@h/d",
    )
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "near"),
    [("PROT", "AGENTCACHE_PORT"), ("DATADIR", "AGENTCACHE_DATA_DIR"), ("REDIS_URI", "AGENTCACHE_REDIS_URL")],
)
def test_an_unknown_name_is_refused_with_the_nearest_one(name, near):
    with pytest.raises(SettingError, match=f"Did you mean {near}\\?"):
        load(**{name: "1"})


def test_an_unknown_name_is_refused_even_when_empty():
    with pytest.raises(SettingError, match="AGENTCACHE_XYZZY is not a setting"):
        load(XYZZY="")


def test_a_misspelt_upstream_duration_is_not_taken_for_a_provider():
    with pytest.raises(SettingError, match="Did you mean AGENTCACHE_UPSTREAM_CONNECT_SECONDS"):
        load(UPSTREAM_CONECT_SECONDS="5")


def test_names_of_the_test_suite_and_of_clients_are_left_alone():
    load(TEST_REDIS_URL="redis://x", API_KEY="ac_live_x", BASE_URL="http://127.0.0.1:8787")


@pytest.mark.parametrize("name", sorted(RESERVED_UPSTREAM_NAMES - {"well-known"}))
def test_no_provider_takes_a_path_of_ours(name):
    with pytest.raises(SettingError, match="belongs to AgentCache"):
        load(**{f"UPSTREAM_{name.upper()}": "https://x"})


def test_every_problem_is_collected():
    settings, problems = check_environ({"AGENTCACHE_PORT": "x", "AGENTCACHE_WORKERS": "x", "AGENTCACHE_FOO": "1"})
    assert settings is None
    assert [problem.param for problem in problems] == ["AGENTCACHE_PORT", "AGENTCACHE_WORKERS", "AGENTCACHE_FOO"]


def test_contradictions_are_refused():
    with pytest.raises(SettingError, match="already AGENTCACHE_PORT"):
        load(PORT="9000", METRICS_PORT="9000")
    with pytest.raises(SettingError, match="more than the whole cache"):
        load(CACHE_MAX_BYTES="2MiB", ENTRY_MAX_BYTES="3MiB")


def test_the_data_dir_may_not_be_a_file(tmp_path):
    (tmp_path / "f").write_text("")
    with pytest.raises(SettingError, match="not a directory"):
        load(DATA_DIR=str(tmp_path / "f"))


@pytest.mark.parametrize(
    ("host", "local", "origin"),
    [
        ("0.0.0.0", False, "http://127.0.0.1:8787"),
        ("::1", True, "http://[::1]:8787"),
        ("localhost", True, "http://localhost:8787"),
        ("10.1.2.3", False, "http://10.1.2.3:8787"),
    ],
)
def test_where_it_listens(host, local, origin):
    settings = load(HOST=host)
    assert settings.is_local is local
    assert settings.origin == origin


def test_accepted_hosts():
    settings = load(HOST="::1", PUBLIC_URL="https://cache.example.com:8443", ALLOWED_HOSTS="*.internal")
    assert settings.accepted_hosts == ("localhost", "127.0.0.1", "[::1]", "cache.example.com", "*.internal")
    assert settings.origin == "https://cache.example.com:8443"


def test_secrets_come_from_the_setting_or_from_the_file(tmp_path):
    newest, former = "n" + "0123456789abcdef" * 2, "f" + "0123456789abcdef" * 2
    settings = load(DATA_DIR=str(tmp_path), SECRET_KEY=newest, SECRET_KEY_FALLBACKS=former)
    assert settings.load_secrets() == (newest.encode(), former.encode())
    assert not settings.secret_key_file.exists()
    settings = load(DATA_DIR=str(tmp_path))
    assert settings.load_secrets() == settings.load_secrets()
    assert settings.secret_key_file.exists()
