from __future__ import annotations

import json

from openapi_spec_validator import validate

from agentcache.gateway.native.openapi import openapi_document
from agentcache.providers.registry import build_dialects
from agentcache.web.openapi import with_control_plane


def test_one_valid_document_describes_both_planes(sqlite_project):
    alone = json.loads(openapi_document(build_dialects({})))
    whole = json.loads(with_control_plane(openapi_document(build_dialects({}))))
    validate(whole)
    assert set(alone["paths"]) < set(whole["paths"])
    assert {"/api/account", "/api/account/login", "/api/account/sessions/{session_id}"} <= set(whole["paths"])
    # What the gateway said of itself stays as it was.
    assert all(
        whole["components"]["schemas"][name] == schema for name, schema in alone["components"]["schemas"].items()
    )
    assert whole["paths"]["/api/account/me"]["get"]["security"] == [{"session": []}]
    assert whole["paths"]["/api/account/register"]["post"]["security"] == []
