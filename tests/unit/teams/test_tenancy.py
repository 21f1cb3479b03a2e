"""Rows of a team are reached through `tenancy.rows_of`; every exception is named here with its reason."""

import ast
from pathlib import Path

from django.apps import apps

import agentcache
from agentcache.analytics.models import UsageEvent
from agentcache.teams.models import ApiKey
from agentcache.teams.secrets import ServerSecrets
from agentcache.teams.services import create_api_key, create_team
from agentcache.teams.tenancy import rows_of

SOURCE = Path(agentcache.__file__).parent
APPS = (
    "accounts", "teams", "tasks", "webhooks", "analytics", "prewarm", "listeners", "policies", "invalidations", "semantics",
    "quotas", "dashboard", "audit", "mails", "web",
)  # fmt: skip

#: Functions that cross tenants on purpose.
CROSSING = {
    ("teams/queries/api_keys.py", "find_api_key"),  # tells whose key it is
    ("teams/queries/api_keys.py", "_with_member"),  # adds the maker's role in the key's own team to each key
    ("teams/services/api_keys.py", "touch_api_key"),  # follows from it, by the same key's id
    ("teams/queries/members.py", "memberships_of"),  # a user's own teams
    ("analytics/queries/installation.py", "installation_totals"),  # sums over all teams, for the start page
    ("analytics/queries/installation.py", "installation_latency"),
    ("analytics/queries/installation.py", "active_teams"),
    ("webhooks/services/hits.py", "tell_of_hits"),  # a batch of usage holds that of many teams
    ("webhooks/services/delivering.py", "_waiting"),  # the worker serves every team, by the delivery's id
    ("webhooks/services/delivering.py", "record_try"),  # the endpoint of that delivery
    ("webhooks/services/endpoints.py", "end_waiting"),  # the deliveries of an endpoint that was found in its team
    ("webhooks/services/tidying.py", "prune"),  # what is old, whosesoever it is
    ("webhooks/services/tidying.py", "end_lost"),
    ("webhooks/queries.py", "count_waiting"),  # for operators
    ("webhooks/queries.py", "count_failing"),
    ("tasks/services.py", "begin"),  # the worker serves every team, by the task's id
    ("tasks/services.py", "_held"),
    ("tasks/services.py", "end_lost"),
    ("tasks/services.py", "prune"),
    ("prewarm/services/batches.py", "prune"),  # what is old, whosesoever it is
    ("prewarm/services/running.py", "begin_batch"),  # the worker serves every team, by the batch's id
    ("prewarm/services/running.py", "take"),
    ("prewarm/services/running.py", "set_aside"),
    ("prewarm/services/running.py", "note_outcomes"),
    ("prewarm/services/running.py", "count_ended"),
    ("prewarm/services/running.py", "note_end"),
    ("prewarm/services/ahead.py", "claim_due"),  # the worker asks anew for every team
    ("prewarm/services/schedules.py", "start_due"),  # the worker starts what is due of every team
    ("prewarm/services/keeping.py", "_keep"),  # a file holds what callers of many teams asked
    ("prewarm/services/keeping.py", "prune_kept"),
    ("listeners/queries.py", "count_watched"),  # for operators
    ("listeners/queries.py", "count_overdue"),
    ("listeners/services/turns.py", "claim_due"),  # the worker checks for every team
    ("listeners/services/turns.py", "release"),
    ("listeners/services/turns.py", "_due"),
    ("listeners/services/records.py", "_record"),  # the very row that was checked
    ("semantics/queries.py", "untold"),  # the worker tells the index of every team's
    ("semantics/queries.py", "teams_with_undecided"),  # the worker asks the judges of every team
    ("semantics/services/judging.py", "due_judges"),
    ("semantics/services/quarantining.py", "note_told"),
    ("semantics/services/quarantining.py", "tell_anew"),
    (
        "semantics/services/taking.py",
        "take_events",
    ),  # a file holds what callers of many teams asked; known by their ids
    ("semantics/services/counting.py", "_add"),  # of those, each to its own team
    ("semantics/services/learning.py", "learn_due"),  # the worker learns for every team
    ("semantics/services/pruning.py", "prune"),  # what is old, whosesoever it is
    ("semantics/services/pruning.py", "_delete_old"),
    ("quotas/queries.py", "retention_days_by_team"),  # a batch of usage holds that of many teams
    ("quotas/jobs.py", "_limited_teams"),  # the worker tells every team
    ("quotas/services.py", "note_counted"),  # by the id of the team that the counters are of
    ("quotas/services.py", "_bounded"),
    ("quotas/services.py", "_change_plan"),  # the team's one row, made where there is none
    ("audit/queries.py", "events_of"),  # the app knows teams by their ids only, and narrows by the id
    ("audit/queries.py", "actions_of"),
    ("audit/services.py", "prune"),  # what is old, whosesoever it is
    ("dashboard/services.py", "choose_checklist"),  # a member's one row in the team
}
#: Adding a row names its team.
ADDING = {"create", "bulk_create"}


def tenant_models():
    return {
        model.__name__
        for model in apps.get_models()
        if any(field.attname == "team_id" for field in model._meta.concrete_fields)
    }


def uses_of_managers(path):
    """Yield (function, model, method) for each `Model.objects.method` in a file."""
    tree = ast.parse(path.read_text())
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for node in ast.walk(function):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Attribute)
                and node.value.attr in {"objects", "_default_manager", "_base_manager"}
                and isinstance(node.value.value, ast.Name)
            ):
                yield function.name, node.value.value.id, node.attr


def test_the_models_with_tenant_rows_are_known():
    assert {"ApiKey", "Membership", "UsageEvent"} <= tenant_models()


def test_no_query_goes_round_the_tenancy_helper():
    owned = tenant_models()
    found = set()
    for app in APPS:
        for path in (SOURCE / app).rglob("*.py"):
            place = path.relative_to(SOURCE).as_posix()
            found |= {
                (place, function)
                for function, model, method in uses_of_managers(path)
                if model in owned and method not in ADDING
            }
    assert found == CROSSING


def test_the_helper_returns_the_teams_own_rows_only(project):
    secrets = ServerSecrets.of(project)
    mine, theirs = create_team(secrets, "Blue Whales"), create_team(secrets, "Red Foxes")
    key = create_api_key(secrets, mine, "ci").row
    create_api_key(secrets, theirs, "ci")
    assert list(rows_of(mine, ApiKey)) == [key]
    assert not rows_of(mine, UsageEvent).exists()
