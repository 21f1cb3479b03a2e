"""What is prewarmed is found by questions in other words, where its namespace allows that."""

from dataclasses import replace

import httpx2 as httpx

from agentcache.audit.services import Actor
from agentcache.semantics import services
from agentcache.semantics.drafts import SettingsDraft
from agentcache.semantics.settings_book import semantics_of
from tests.support.near import NearGateway, result
from tests.support.prewarming import do, keep_credential, start
from tests.support.prewarming_requests import chat
from tests.support.semantics import tenant_of

NEAR = "What is the way to reset my password?"


def asked_of(provider):
    return sum(call.method == "POST" for call in provider.calls)


def test_a_prewarmed_answer_is_found_in_other_words_where_that_is_on(settings, team, provider):
    keep_credential(settings, team)
    services.save_settings(team, "on", SettingsDraft("custom", threshold=0.5, shadow_share=0.0), actor=Actor.system())
    asked = chat("How do I reset my password?")
    with NearGateway(settings.data_dir, provider) as gateway:
        do(settings, start(settings, team, [{**asked, "namespace": name} for name in ("on", "off")]))
        # Its own answer is asked for, whatever is near.
        batch = do(settings, start(settings, team, [{**chat(NEAR), "namespace": "on", "ttl": 60}]))
        assert (batch.warmed, asked_of(provider)) == (1, 3)
        key = gateway.new_key(semantics=semantics_of(team.pk))
        principals = gateway.control_plane.principals
        principals[key] = replace(principals[key], tenant=tenant_of(team))

        def ask(question, namespace):
            headers = {"x-agentcache-key": key, "authorization": "Bearer sk-test", "x-agentcache-namespace": namespace}
            url = f"{gateway.url}/openai/v1/chat/completions"
            answer = httpx.post(url, headers=headers, json=chat(question)["body"], timeout=60)
            gateway.settle()
            return answer

        hit, other = (
            ask("Tell me the way to reset my password.", "on"),
            ask("Tell me the way to reset my password.", "off"),
        )
    assert (result(hit), result(other)) == ("hit", "")
    assert asked_of(provider) == 4
