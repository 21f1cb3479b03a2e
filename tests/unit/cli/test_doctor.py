import json
import math
import os
import socket

import pytest
from typer.testing import CliRunner

from agentcache.cli.app import app
from agentcache.cli.checks import machine, stores
from agentcache.cli.checks.finding import Verdict
from agentcache.engine.semantic.embedders.minilm_files import MODEL_NAME, TOKENS_NAME
from agentcache.settings import SETTINGS, Settings
from tests.support.calibrations import kept_as


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("AGENTCACHE_")]:
        monkeypatch.delenv(name)
    with socket.create_server(("127.0.0.1", 0)) as free:
        monkeypatch.setenv("AGENTCACHE_PORT", str(free.getsockname()[1]))
    monkeypatch.setenv("AGENTCACHE_DATA_DIR", str(tmp_path / "data"))


def examine(*options):
    outcome = CliRunner().invoke(app, ["doctor", "--json", *options])
    report = json.loads(outcome.stdout)
    return outcome.exit_code, report, {finding["check"]: finding for finding in report["findings"]}


def test_a_fresh_machine_is_well_and_nothing_is_written(tmp_path):
    exit_code, report, findings = examine()
    assert exit_code == 0
    assert report["ok"] is True
    assert findings["database"]["verdict"] == "skip"
    assert not (tmp_path / "data").exists()


def test_every_setting_is_looked_at():
    _, _, findings = examine()
    assert {setting.name for setting in SETTINGS if not setting.is_family} <= set(findings)


def test_a_secret_is_never_shown(monkeypatch):
    monkeypatch.setenv("AGENTCACHE_SECRET_KEY", "0123456789abcdef-hunter2-0123456789abcdef")
    outcome = CliRunner().invoke(app, ["doctor"])
    assert "hunter2" not in outcome.output


def test_every_wrong_setting_is_named_at_once_with_a_way_out(monkeypatch):
    monkeypatch.setenv("AGENTCACHE_WORKERS", "0")
    monkeypatch.setenv("AGENTCACHE_LOG_LEVEL", "loud")
    monkeypatch.setenv("AGENTCACHE_PROT", "1")
    exit_code, report, findings = examine()
    assert exit_code == 1
    assert report["ok"] is False
    for name in ("AGENTCACHE_WORKERS", "AGENTCACHE_LOG_LEVEL", "AGENTCACHE_PROT"):
        assert findings[name]["verdict"] == "fail"
        assert findings[name]["mend"]


def test_a_port_that_another_program_holds(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as other:
        # It accepts nothing, so it is no server of ours.
        other.listen(0)
        monkeypatch.setenv("AGENTCACHE_PORT", str(other.getsockname()[1]))
        monkeypatch.setattr("agentcache.kit.egress.own_api.WITHIN_SECONDS", 0.2)
        exit_code, _, findings = examine()
    assert exit_code == 1
    assert findings["port"]["verdict"] == "fail"
    assert "AGENTCACHE_PORT=" in findings["port"]["mend"]


def test_a_secret_file_that_others_may_read(tmp_path):
    secret = tmp_path / "data" / "secret.key"
    secret.parent.mkdir(mode=0o700)
    secret.write_text("0123456789abcdef" * 4)
    secret.chmod(0o640)
    _, _, findings = examine()
    assert findings["secret key"]["verdict"] == "fail"
    assert "chmod 600" in findings["secret key"]["found"] + findings["secret key"]["mend"]


def test_a_redis_that_does_not_answer(monkeypatch):
    monkeypatch.setenv("AGENTCACHE_REDIS_URL", "redis://127.0.0.1:1/0")
    exit_code, _, findings = examine()
    assert exit_code == 1
    assert findings["entries"]["verdict"] == "fail"
    assert "Start Redis" in findings["entries"]["mend"]


def test_providers_are_connected_to_only_when_asked(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as provider:
        for name in ("OPENAI", "ANTHROPIC", "REPLICATE", "TOGETHER", "GROQ", "MISTRAL", "DEEPSEEK", "OPENROUTER"):
            monkeypatch.setenv(f"AGENTCACHE_UPSTREAM_{name}", f"http://127.0.0.1:{provider.getsockname()[1]}/v1")
        monkeypatch.setenv("AGENTCACHE_UPSTREAM_OPENAI", "http://127.0.0.1:1/v1")
        provider.setblocking(False)
        _, _, silent = examine()
        assert silent["openai"]["verdict"] == "skip"
        with pytest.raises(BlockingIOError):
            provider.accept()
        exit_code, _, tried = examine("--network")
        provider.accept()[0].close()
    assert exit_code == 0
    assert tried["anthropic"]["verdict"] == "ok"
    assert tried["openai"]["verdict"] == "warn"


def test_a_clock_from_before_this_code():
    assert machine._clock(0.0).verdict is Verdict.FAIL
    assert machine._clock(machine.CLOCK_EARLIEST + 1).verdict is Verdict.OK


@pytest.mark.parametrize(("limit", "verdict"), [((256, 256), Verdict.WARN), ((65536, 65536), Verdict.OK)])
def test_few_open_files(monkeypatch, limit, verdict):
    monkeypatch.setattr("resource.getrlimit", lambda _: limit)
    assert machine._open_files().verdict is verdict


def test_a_full_disk(monkeypatch, tmp_path):
    settings = Settings.from_env({"AGENTCACHE_DATA_DIR": str(tmp_path)})
    usage = type("Usage", (), {"free": 1024**2})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    assert machine._free_space(settings).verdict is Verdict.FAIL
    usage.free = 1024**3
    assert machine._free_space(settings).verdict is Verdict.WARN


@pytest.mark.parametrize(
    ("maxmemory", "policy", "verdict"),
    [
        (0, "noeviction", Verdict.OK),
        (1024**3, "noeviction", Verdict.OK),
        (1024**3, "allkeys-lru", Verdict.WARN),
        (0, "allkeys-lru", Verdict.OK),
    ],
)
def test_a_redis_that_evicts_by_itself(maxmemory, policy, verdict):
    assert stores._memory(maxmemory, policy).verdict is verdict


def test_an_smtp_server_is_asked_and_its_password_never_shown(monkeypatch):
    _, _, findings = examine()
    assert findings["smtp"]["verdict"] == "ok" and "/dev/mail" in findings["smtp"]["found"]
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("AGENTCACHE_SMTP_URL", f"smtp://cache:hunter2@127.0.0.1:{port}")
    exit_code, _, findings = examine()
    assert exit_code == 1
    assert findings["smtp"]["verdict"] == "fail"
    assert f"127.0.0.1:{port}: ConnectionRefusedError" in findings["smtp"]["found"]
    assert "hunter2" not in str(findings)


def test_a_server_for_others_that_can_send_no_mail(monkeypatch):
    monkeypatch.setenv("AGENTCACHE_PUBLIC_URL", "https://cache.example.com")
    assert examine()[2]["smtp"]["verdict"] == "warn"


def test_semantic_look_ups_are_looked_at_without_making_anything(tmp_path, monkeypatch):
    _, _, findings = examine()
    assert findings["embedder"]["verdict"] == "ok"
    assert "at first use" in findings["embedder"]["found"]
    assert "semantic.db" in findings["index"]["found"]
    models = tmp_path / "data" / "models"
    models.mkdir(parents=True)
    for name in (MODEL_NAME, TOKENS_NAME):
        (models / name).write_bytes(b"damaged")
    _, _, findings = examine()
    assert findings["embedder"]["verdict"] == "warn"
    assert len(list(models.iterdir())) == 2, "the doctor changes nothing"
    monkeypatch.setenv("AGENTCACHE_SEMANTIC_EMBEDDER", "off")
    exit_code, _, findings = examine()
    assert (exit_code, findings["embedder"]["verdict"], "index" in findings) == (0, "skip", False)


def test_an_embedding_service_or_an_index_that_is_away_is_named(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("AGENTCACHE_SEMANTIC_EMBEDDER", f"openai:some-model@http://127.0.0.1:{port}")
    monkeypatch.setenv("AGENTCACHE_SEMANTIC_API_KEY", "sk-hunter2")
    _, _, findings = examine()
    assert findings["embedder"]["verdict"] == "skip"
    monkeypatch.setenv("AGENTCACHE_SEMANTIC_INDEX_URL", f"redis://127.0.0.1:{port}/0")
    exit_code, report, findings = examine("--network")
    assert exit_code == 1
    assert findings["embedder"]["verdict"] == findings["index"]["verdict"] == "fail"
    assert "hunter2" not in json.dumps(report)
    monkeypatch.setenv("AGENTCACHE_SEMANTIC_INDEX_URL", f"postgresql://127.0.0.1:{port}/x")
    assert examine()[2]["index"]["verdict"] == "fail"


@pytest.mark.parametrize(
    ("own", "verdict"),
    [(lambda cosine: cosine / 10 + 0.9, "ok"), (lambda cosine: math.sin(1e6 * cosine), "warn"), (None, "skip")],
)
def test_an_embedder_is_named_that_nothing_is_served_by(tmp_path, monkeypatch, own, verdict):
    monkeypatch.setenv("AGENTCACHE_SEMANTIC_EMBEDDER", "openai:some-model@http://127.0.0.1:9")
    if own is not None:
        embedder = "openai:some-model@http://127.0.0.1:9/v1/embeddings:0123abcd"
        kept_as(embedder, own, tmp_path / "data" / "calibrations")
    exit_code, _, findings = examine()
    assert (exit_code, findings["calibration"]["verdict"]) == (0, verdict)
    assert ("another model" in findings["calibration"]["mend"]) == (verdict == "warn")
    monkeypatch.setenv("AGENTCACHE_SEMANTIC_EMBEDDER", "openai:other-model@http://127.0.0.1:9")
    assert examine()[2]["calibration"]["verdict"] == "skip"
    monkeypatch.delenv("AGENTCACHE_SEMANTIC_EMBEDDER")
    assert "calibration" not in examine()[2]


def test_a_cluster_for_the_index_is_refused_with_what_to_take_instead(monkeypatch):
    monkeypatch.setenv("AGENTCACHE_SEMANTIC_INDEX_URL", "rediss+cluster://host:6379")
    exit_code, _, findings = examine()
    said = findings["AGENTCACHE_SEMANTIC_INDEX_URL"]
    assert (exit_code, said["verdict"]) == (1, "fail")
    assert "Redis Cluster" in said["found"] and "PostgreSQL" in said["found"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EMBEDDER", "openai:model-without-url"),
        ("EMBEDDER", "openai:m@ftp://host"),
        ("EMBEDDER", "openai:m@https://user:pw@host/v1"),
        ("EMBEDDER", "minilm:other"),
        ("EMBEDDER", "sentence-transformers:"),
        ("EMBEDDER", "gpt"),
        ("INDEX_URL", "redis+cluster://host"),
        ("INDEX_URL", "redis://host/3"),
        ("INDEX_URL", "mysql://host/x"),
        ("INDEX_URL", "postgresql://host"),
        ("MAX_ROWS", "10"),
        ("BUDGET_MS", "0"),
    ],
)
def test_semantic_settings_that_cannot_work_are_refused(monkeypatch, name, value):
    monkeypatch.setenv(f"AGENTCACHE_SEMANTIC_{name}", value)
    exit_code, _, findings = examine()
    assert exit_code == 1
    assert findings[f"AGENTCACHE_SEMANTIC_{name}"]["verdict"] == "fail"
