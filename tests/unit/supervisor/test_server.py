import gc
import json

from agentcache.settings import Settings
from agentcache.supervisor.server import Server, call_application, configure


class Recorder:
    """Stands where the lifeline stands."""

    def __init__(self):
        self.told = []

    def ready(self):
        self.told.append("ready")

    def not_ready(self, reason):
        self.told.append(reason)


class Application:
    """Answers /readyz from a list, the last answer for ever; knows of draining."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.drains = []

    async def __call__(self, scope, receive, send):
        assert scope["path"] == "/readyz"
        assert await receive() == {"type": "http.request", "body": b"", "more_body": False}
        status, document = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        await send({"type": "http.response.start", "status": status, "headers": []})
        body = json.dumps(document).encode()
        await send({"type": "http.response.body", "body": body[:5], "more_body": True})
        await send({"type": "http.response.body", "body": body[5:]})

    def begin_drain(self, seconds):
        self.drains.append(seconds)


def server_of(application):
    config = configure(Settings.from_env({}), application)
    config.loaded_app = application
    recorder = Recorder()
    return Server(config, recorder, 30.0), recorder


async def test_a_call_inside_the_process_returns_status_and_whole_body():
    status, body = await call_application(Application((200, {"status": "ready"})), "/readyz")
    assert (status, json.loads(body)) == (200, {"status": "ready"})


async def test_ready_is_told_once_the_canary_passes():
    away = (503, {"detail": "The cache store cannot be reached."})
    server, recorder = server_of(Application(away, away, (200, {})))
    await server._tell_when_ready()
    assert recorder.told == ["The cache store cannot be reached.", "ready"]


async def test_garbage_which_the_start_does_not_look_for_is_collected_once_it_serves():
    server, _ = server_of(Application((200, {})))
    gc.disable()
    try:
        await server._tell_when_ready()
        assert gc.isenabled()
    finally:
        gc.enable()


async def test_an_answer_that_is_no_problem_document_is_told_by_its_status():
    server, recorder = server_of(Application((500, ["?"]), (200, {})))
    await server._tell_when_ready()
    assert recorder.told == ["/readyz answers 500", "ready"]


async def test_the_application_is_told_when_the_end_begins():
    application = Application((200, {}))
    server, _ = server_of(application)
    server.servers = []
    server.force_exit = True
    await server.shutdown()
    assert application.drains == [30.0]


def test_the_server_says_nothing_about_itself_and_logs_no_requests():
    config = configure(Settings.from_env({"AGENTCACHE_DRAIN_SECONDS": "2.5"}), Application())
    assert config.server_header is False
    assert config.access_log is False
    assert config.proxy_headers is False
    assert config.timeout_graceful_shutdown == 3
