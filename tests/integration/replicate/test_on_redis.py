"""The same over Redis."""

from __future__ import annotations

import httpx

from tests.support.running_gateway import RunningGateway


def test_files_and_predictions_are_found(tmp_path, provider, redis_url):
    with RunningGateway(tmp_path, provider, AGENTCACHE_REDIS_URL=redis_url) as gateway, httpx.Client() as client:
        headers = {"x-agentcache-key": gateway.make_key(), "authorization": "Bearer r8_x", "prefer": "wait"}

        def create():
            body = {"version": "acme/flux", "input": {"seed": 1}}
            return client.post(f"{gateway.url}/replicate/v1/predictions", json=body, headers=headers)

        first = create()
        provider.expire_files()
        second = create()
        assert "hit" in second.headers["cache-status"]
        assert second.json()["output"] == first.json()["output"]
        assert client.get(second.json()["output"][0]).content.startswith(b"\x89PNG")
        assert client.get(second.json()["urls"]["get"], headers=headers).json() == second.json()
