"""The pages of semantic look-ups: settings and evidence, near questions side by side, quarantine, the playground."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.text import capfirst
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from agentcache.analytics import queries as analytics
from agentcache.analytics.labels import labels_of
from agentcache.analytics.periods import last_days
from agentcache.analytics.queries import Filters
from agentcache.audit.services import Actor
from agentcache.design import formats
from agentcache.design.charts import Chart
from agentcache.engine.semantic.settings import OFF, settings_for
from agentcache.engine.semantic.verifier import load_verifier
from agentcache.engine.semantic.weighing import AGREEMENT_UNKNOWN
from agentcache.gateway.semantic.looking import NORMALISED
from agentcache.kit.errors import AgentCacheError, BadRequest
from agentcache.kit.money import NANOS_PER_USD
from agentcache.semantics import queries, services, words
from agentcache.semantics.charts import TRAILING_DAYS, hits_chart, precision_chart
from agentcache.semantics.comparing import Comparison, FeatureValue, compare
from agentcache.semantics.diversity import DIVERSITY_MAX, PROMPTS_MIN, WINDOW_DAYS
from agentcache.semantics.drafts import SettingsDraft
from agentcache.semantics.forms import PairForm, SettingsForm
from agentcache.semantics.index_access import tell_now
from agentcache.semantics.measuring import held_back, missing
from agentcache.semantics.models import EVERY_NAMESPACE, EventKind, Mode, NearQuestion
from agentcache.semantics.queries import Figures, HitFilters, NamespaceView
from agentcache.semantics.sealed_texts import Pair, TeamTexts
from agentcache.semantics.services.quarantining import key_in
from agentcache.semantics.settings_book import semantics_of
from agentcache.teams.access import TeamRequest, team_page
from agentcache.teams.models import Team
from agentcache.teams.permissions import Permission
from agentcache.teams.secrets import current_secrets

_IN_FORCE: Final = "In force for every worker within 5 seconds."
_LATER: Final = "The index could not be told yet; it is tried again every few seconds."
_DAYS: Final = 30
#: For fewer, figures come by hours.
_DAYS_MIN: Final = 8


@require_safe
@team_page(Permission.SEMANTICS_READ)
def index(request: TeamRequest) -> HttpResponse:
    """Show settings by namespace, what came of them, and what takes no part."""
    team = request.team_context.team
    namespace = request.GET.get("namespace", "")[:128].replace("\0", "")
    offered = queries.choices_of_days(team)
    days = next((one for one in offered if str(one) == request.GET.get("days")), min(_DAYS, offered[-1]))
    today = datetime.now(UTC).date()
    views = queries.namespaces_of(team, today - timedelta(days=days - 1))
    chosen = [view for view in views if not namespace or view.namespace == namespace]
    total = Figures.total(view.figures for view in chosen)
    shadow = Figures.total(view.figures for view in chosen if view.settings and view.settings.mode == Mode.SHADOW)
    context = {
        "tabs": tabs(),
        "problem": missing(),
        "held_back": held_back(),
        "rows": [NamespaceRow(view) for view in views],
        "chosen": namespace,
        "days": days,
        "all_days": offered,
        "names": [view.namespace for view in views if view.namespace != EVERY_NAMESPACE],
        "total": total,
        "wrong_note": _interval(total),
        "shadow": shadow,
        "shadow_missed": shadow.missed_usd_nanos / NANOS_PER_USD,
        "saved": total.saved_usd_nanos / NANOS_PER_USD,
        "missed": total.missed_usd_nanos / NANOS_PER_USD,
        "charts": _charts(team, namespace, days, today, chosen) if total.near or total.below else (),
        "exclusions": words.EXCLUSIONS,
        "may_change": request.team_context.may(Permission.SEMANTICS_MANAGE),
    }
    return render(request, "semantics/index.html", context)


def _interval(figures: Figures) -> str:
    if figures.interval is None:
        return ""
    low, high = (formats.number(end, "percent") for end in figures.interval)
    return f"{low} to {high}, of {formats.number(figures.judged)} compared"


@dataclass(frozen=True, slots=True)
class RiskShown:
    """What the list says of a rule of risk: on what it stands, and the least score where it opens nothing."""

    title: str
    threshold: float


@dataclass(frozen=True, slots=True)
class NamespaceRow:
    """A namespace as it is listed."""

    view: NamespaceView

    @property
    def mode(self) -> str:
        """Its mode, in a word."""
        settings = self.view.settings
        return settings.get_mode_display() if settings is not None else "Off"

    @property
    def tone(self) -> str:
        """How the mode is shown."""
        settings = self.view.settings
        mode = settings.mode if settings is not None else "off"
        return {"off": "quiet", "shadow": "info", "custom": "warn"}.get(mode, "good")

    @property
    def saved(self) -> float:
        """What was not paid, in dollars."""
        return self.view.figures.saved_usd_nanos / NANOS_PER_USD

    @property
    def risk(self) -> RiskShown | None:
        """The rule of risk in force; None where the score alone decides."""
        settings, learned = self.view.settings, self.view.learned_rule
        if settings is None or learned is None or settings.mode != Mode.BALANCED:
            return None
        counted = (
            f"{formats.number(learned.compared)} comparisons, {formats.number(learned.wrong_share, 'percent')} wrong"
        )
        if learned.rule.opens:
            title = f"Score, cosine, length and neighbours decide together, by what was compared here: {counted} up to this risk."
        else:
            title = f"Asked beside the score, for what was compared here does not prove more yet: {counted} up to this risk."
        return RiskShown(title, max(load_verifier().safe_threshold, self.view.learned_threshold or 0.0))

    @property
    def is_unused(self) -> bool:
        """Whether what was compared has no say in its mode."""
        settings = self.view.settings
        return settings is not None and settings.mode in (Mode.OFF, Mode.CUSTOM)

    @property
    def is_closed(self) -> bool:
        """Whether no threshold meets the target, by the evidence."""
        return self.view.learned_threshold is not None and self.view.learned_threshold > 1


def _charts(team: Team, namespace: str, days: int, today: date, chosen: Sequence[NamespaceView]) -> Sequence[Chart]:
    since = today - timedelta(days=days - 1)
    figures = queries.days_of(team, since - timedelta(days=TRAILING_DAYS - 1), today, namespace)
    starts = [datetime.combine(since + timedelta(days=at), time(), UTC) for at in range(days)]
    period = last_days(max(days, _DAYS_MIN), datetime.combine(today, time(23, 59), UTC))
    asked = analytics.timeseries(team, period, Filters(namespace=namespace or None))
    requests = [one.requests for one in asked[-days:]]
    targets = {view.settings.target for view in chosen if view.settings is not None and view.figures != Figures()}
    target = targets.pop() if len(targets) == 1 else None
    return (
        precision_chart(starts, figures, target),
        hits_chart(starts, figures[TRAILING_DAYS - 1 :], requests),
    )


@require_http_methods(["GET", "HEAD", "POST"])
@team_page(Permission.SEMANTICS_MANAGE)
def new(request: TeamRequest) -> HttpResponse:
    """Give a namespace settings of its own."""
    given = request.GET.get("namespace", "")[:128].replace("\0", "")
    return _edit(request, SettingsForm(request.POST or None, is_new=True, initial={"namespace": given}), "")


@require_http_methods(["GET", "HEAD", "POST"])
@team_page(Permission.SEMANTICS_MANAGE)
def change(request: TeamRequest, namespace: str) -> HttpResponse:
    """Change a namespace's settings."""
    row = queries.get_settings(request.team_context.team, namespace)
    initial = {**SettingsDraft.of(row).as_document(), "based_on": row.revision}
    return _edit(request, SettingsForm(request.POST or None, is_new=False, initial=initial), namespace)


def _edit(request: TeamRequest, form: SettingsForm, namespace: str) -> HttpResponse:
    if form.is_bound and form.is_valid():
        based_on = form.cleaned_data["based_on"] if namespace else 0
        name = namespace or form.cleaned_data["namespace"]
        try:
            services.save_settings(
                request.team_context.team, name, form.draft, actor=Actor.of(request), based_on=based_on
            )
        except AgentCacheError as error:
            form.add_error(error.param if error.param in form.fields else None, error.message)
        else:
            shown = "Every other namespace" if name.strip() == EVERY_NAMESPACE else name.strip()
            messages.success(request, f"{shown}: kept. {_IN_FORCE}")
            return redirect("semantics:index")
    context = {
        "form": form,
        "namespace": namespace,
        "problem": missing(),
        "held_back": held_back(),
        "exclusions": words.EXCLUSIONS,
    }
    return render(request, "semantics/settings.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@team_page(Permission.SEMANTICS_MANAGE)
def remove(request: TeamRequest, namespace: str) -> HttpResponse:
    """Ask before a namespace's settings are taken away."""
    team = request.team_context.team
    row = queries.get_settings(team, namespace)
    if request.method == "POST":
        services.remove_settings(team, namespace, actor=Actor.of(request))
        messages.success(request, f"The settings of {namespace} are removed. {_IN_FORCE}")
        return redirect("semantics:index")
    return render(request, "semantics/remove.html", {"row": row})


@require_safe
@team_page(Permission.SEMANTICS_READ)
def hits(request: TeamRequest) -> HttpResponse:
    """List near questions side by side with what answered them, and why."""
    team, asked = request.team_context.team, request.GET.dict()
    kind = asked.get("kind", "")
    filters = HitFilters(
        asked.get("namespace", "")[:128].replace("\0", ""),
        kind if kind in EventKind else "",
        is_wrong=asked.get("wrong") == "1",
    )
    problem = ""
    try:
        page = queries.near_questions(team, filters, before=asked.get("before", ""))
    except BadRequest as error:
        problem, page = error.message, queries.near_questions(team, filters)
    context = {
        "tabs": tabs(),
        "rows": near_rows(team, page.rows),
        "page": page,
        "problem": problem,
        "asked": asked,
        "is_filtered": filters != HitFilters(),
        "kinds": EventKind.choices,
        "may_report": request.team_context.may(Permission.CACHE_PURGE),
        "may_read_cache": request.team_context.may(Permission.CACHE_READ),
        "texts_days": services.TEXTS_KEPT_DAYS,
    }
    return render(request, "semantics/hits.html", context)


@dataclass(frozen=True, slots=True)
class NearRow:
    """A near question as it is shown."""

    row: NearQuestion
    #: None once the texts are forgotten.
    pair: Pair | None
    is_reported: bool
    note: str = ""
    #: Name of the API key that placed the answer; "" where it is not known.
    writer: str = ""
    #: Whether its entry answers no near questions now.
    is_held: bool = False

    @property
    def kind(self) -> str:
        """What it came to, in words."""
        return self.row.get_kind_display()

    @property
    def is_same(self) -> bool:
        """Whether both questions have one normal form, so that no score was needed."""
        return self.row.verifier == NORMALISED

    @property
    def reasons(self) -> list[tuple[str, float, float]]:
        """What moved the score most: in words, value, effect in log-odds."""
        return [(words.feature(name), value, effect) for name, value, effect in self.row.reasons]

    @property
    def judged_by(self) -> str:
        """What said whether one answer serves both, in words; "" where nothing did."""
        return words.JUDGED_BY.get(self.row.judged_by, self.row.judged_by)

    @property
    def veto(self) -> str:
        """Why no score outweighs it, in words."""
        return words.VETOES.get(self.row.veto, self.row.veto)

    @property
    def saved(self) -> float:
        """What was not paid, or would not have been, in dollars."""
        return self.row.saved_usd_nanos / NANOS_PER_USD


def near_rows(team: Team, rows: Sequence[NearQuestion]) -> list[NearRow]:
    """Return near questions with their texts."""
    texts = TeamTexts.of(current_secrets(), team)
    reported = queries.reported_requests(team, {row.request_id for row in rows if row.request_id})
    writers = labels_of(team, "api_key", {row.writer for row in rows if row.writer})
    held = queries.held_entries(team, {row.entry_key for row in rows})
    return [
        NearRow(
            row,
            texts.find_pair(row),
            row.request_id in reported,
            texts.find_note(row),
            writers.get(row.writer, ""),
            row.entry_key in held,
        )
        for row in rows
    ]


@require_safe
@team_page(Permission.SEMANTICS_READ)
def quarantine(request: TeamRequest) -> HttpResponse:
    """List the entries that answer no near questions, and those that were released."""
    team = request.team_context.team
    rows = queries.quarantine_of(team)
    causes = queries.causes_of(team, rows)
    shown = {one.row.pk: one for one in near_rows(team, list(causes.values()))}
    keys = labels_of(team, "api_key", {found for row in rows if (found := key_in(row.by))})
    context = {
        "tabs": tabs(),
        "rows": [
            (row, shown[causes[row.pk].pk] if row.pk in causes else None, keys.get(key_in(row.by), row.by))
            for row in rows
        ],
        "ended": queries.quarantine_of(team, is_ended=True, limit=20),
        "may_release": request.team_context.may(Permission.SEMANTICS_MANAGE),
        "may_read_cache": request.team_context.may(Permission.CACHE_READ),
        "diversity": {"prompts": PROMPTS_MIN, "days": WINDOW_DAYS, "least": DIVERSITY_MAX},
    }
    return render(request, "semantics/quarantine.html", context)


@require_POST
@team_page(Permission.SEMANTICS_MANAGE, back="semantics:quarantine")
def release(request: TeamRequest, entry_key: str) -> HttpResponse:
    """Let an entry answer near questions again."""
    row = services.release(request.team_context.team, entry_key, actor=Actor.of(request))
    told = tell_now(row)
    messages.success(request, f"The entry may answer near questions again.{'' if told else f' {_LATER}'}")
    return redirect("semantics:quarantine")


@require_POST
@team_page(Permission.CACHE_PURGE, back="semantics:hits")
def report(request: TeamRequest, request_id: str) -> HttpResponse:
    """Take a member's word that a hit was a bad one; its entry answers no near questions from now on."""
    row = services.report_bad_hit(request.team_context.team, request_id, actor=Actor.of(request))
    told = "At once, for every worker." if row.is_told or tell_now(row) else _LATER
    messages.success(request, f"Thank you. The entry answers no near questions any more. {told}")
    if request.POST.get("to") == "request":
        return redirect("dashboard:request", request_id)
    return redirect("semantics:hits")


@require_http_methods(["GET", "HEAD", "POST"])
@team_page(Permission.SEMANTICS_READ)
def playground(request: TeamRequest) -> HttpResponse:
    """Compare two prompts: every feature, veto, score and the verdict."""
    team = request.team_context.team
    form = PairForm(request.POST or None, namespaces=queries.namespaces_with_rules(team))
    context: dict[str, Any] = {"tabs": tabs(), "form": form, "problem": missing()}
    if form.is_bound and form.is_valid():
        given = form.cleaned_data
        namespace = given.get("namespace", "")
        settings = settings_for(semantics_of(team.pk), namespace) if namespace else OFF
        try:
            context |= _compared(compare(given["asked"], given["stored"], settings))
        except BadRequest as error:
            form.add_error(error.param if error.param in form.fields else None, error.message)
    return render(request, "semantics/playground.html", context, status=422 if form.errors else 200)


def _compared(found: Comparison) -> dict[str, Any]:
    tone, word, sentence = words.VERDICTS[found.verdict]
    veto = words.VETOES.get(found.veto, found.veto) if found.veto else ""
    is_vetoed = found.verdict == "vetoed"
    left_out = [
        (which, words.LEFT_OUT.get(reason, reason))
        for which, reason in (
            ("What is asked now", found.asked_left_out),
            ("What was asked before", found.stored_left_out),
        )
        if reason
    ]
    return {
        "found": found,
        "verdict": {"tone": tone, "word": word, "sentence": sentence.format(veto=capfirst(veto))},
        "left_out": left_out,
        "veto": "" if is_vetoed else veto,
        "trap": words.feature(found.trap) if found.trap and not is_vetoed else "",
        "score_note": "of the verifier; the veto comes before it" if is_vetoed else "of the verifier",
        "cosine_note": f"the plain rule of {found.cosine_threshold:g} would {'' if found.is_cosine_hit else 'not '}have served it",
        "agreement": AGREEMENT_UNKNOWN,
        "risk_note": f"risk, from a score of {found.threshold:.3f} on" if found.threshold is not None else "",
        "features_lead": words.FEATURES_LEAD if found.score is not None else words.FEATURES_LEAD_UNSCORED,
        "features": [_shown(one) for one in found.features if one.value or one.effect],
        "silent": [_shown(one) for one in found.features if not one.value and not one.effect],
    }


def _shown(one: FeatureValue) -> tuple[str, str, float, float | None]:
    return words.feature(one.name), one.name, one.value, one.effect


def tabs() -> list[tuple[str, str]]:
    """Return the tabs of all of these pages: title, address."""
    return [
        ("Settings and evidence", reverse("semantics:index")),
        ("Judge", reverse("semantics:judges")),
        ("Recent hits", reverse("semantics:hits")),
        ("Quarantine", reverse("semantics:quarantine")),
        ("Playground", reverse("semantics:playground")),
    ]
