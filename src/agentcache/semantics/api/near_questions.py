"""The JSON API of what semantic look-ups came to: figures, near questions, quarantine, pairs of prompts."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Literal

from ninja import Router, Schema, Status
from pydantic import ConfigDict, Field

from agentcache.audit.services import Actor
from agentcache.engine.semantic.settings import OFF, settings_for
from agentcache.kit.money import usd
from agentcache.semantics import queries, services
from agentcache.semantics.comparing import Comparison, compare
from agentcache.semantics.index_access import tell_now
from agentcache.semantics.models import NearQuestion, QuarantinedEntry
from agentcache.semantics.queries import Figures, HitFilters, NamespaceView
from agentcache.semantics.sealed_texts import TeamTexts
from agentcache.semantics.settings_book import semantics_of
from agentcache.teams.access import TeamAuth, TeamRequest
from agentcache.teams.permissions import Permission
from agentcache.teams.secrets import current_secrets

router = Router(tags=["Semantic look-ups"])
_READ = TeamAuth(Permission.SEMANTICS_READ)
_MANAGE = TeamAuth(Permission.SEMANTICS_MANAGE)
_REPORT = TeamAuth(Permission.CACHE_PURGE)


class FiguresShown(Schema):
    """What near questions came to. Shares are 0 to 1, money is decimal US dollars."""

    #: Served by meaning.
    hits: int
    #: Near enough to be served, and asked all the same.
    shadowed: int
    #: Of those: compared with the provider's answer, and found to have another one.
    judged: int
    wrong: int
    #: Share of wrong ones among the judged, and the Wilson interval around it; null without any.
    wrong_share: float | None
    wrong_share_low: float | None
    wrong_share_high: float | None
    #: Not near enough, compared, and found to have the same answer.
    below: int
    below_agreed: int
    #: Hits that somebody said were wrong.
    reported: int
    saved_usd: str
    #: What the shadowed ones would have saved.
    missed_usd: str

    @classmethod
    def of(cls, figures: Figures) -> FiguresShown:
        """Show some."""
        low, high = figures.interval or (None, None)
        return cls(
            hits=figures.hits,
            shadowed=figures.shadowed,
            judged=figures.judged,
            wrong=figures.wrong,
            wrong_share=figures.wrong_share,
            wrong_share_low=low,
            wrong_share_high=high,
            below=figures.below,
            below_agreed=figures.below_agreed,
            reported=figures.reported,
            saved_usd=usd(figures.saved_usd_nanos),
            missed_usd=usd(figures.missed_usd_nanos),
        )


class EvidenceShown(Schema):
    """A namespace's mode, its figures, and the threshold that was learned of them."""

    namespace: str
    #: `off` without settings.
    mode: str
    target: float | None
    #: Above 1 where no threshold meets the target; null while there is not enough to tell.
    learned_threshold: float | None
    learned_at: datetime | None
    #: Highest estimated risk that is served in the mode balanced, 0 to 1; null while there is not enough evidence.
    learned_risk_limit: float | None
    #: Whether that stands in place of the threshold: the evidence proves that the target holds so far down.
    learned_opens: bool
    #: By the evidence, what share of those hits is wrong, and how many comparisons say so.
    learned_wrong_share: float | None
    learned_compared: int | None
    #: Judgements so far.
    decided: int
    figures: FiguresShown

    @classmethod
    def of(cls, view: NamespaceView) -> EvidenceShown:
        """Show one."""
        learned = view.learned_rule
        return cls(
            namespace=view.namespace,
            mode=view.settings.mode if view.settings is not None else "off",
            target=view.settings.target if view.settings is not None else None,
            learned_threshold=view.learned_threshold,
            learned_at=view.learned_at,
            learned_risk_limit=learned.rule.limit if learned is not None else None,
            learned_opens=learned is not None and learned.rule.opens,
            learned_wrong_share=learned.wrong_share if learned is not None else None,
            learned_compared=learned.compared if learned is not None else None,
            decided=view.decided,
            figures=FiguresShown.of(view.figures),
        )


class DayShown(FiguresShown):
    """One day, UTC."""

    day: date


class NearQuestionShown(Schema):
    """One near question, with both texts for as long as they are kept."""

    id: str
    at: datetime
    #: `hit`, `shadow`, `judged` or `reported`.
    kind: str
    namespace: str
    request_id: str
    entry_key: str
    #: Null once it is forgotten.
    asked: str | None
    matched: str | None
    cosine: float
    score: float
    threshold: float
    #: How likely it was to want another answer by the rule in force, and the highest risk that answered; null without a rule.
    risk: float | None
    risk_limit: float | None
    #: Which share of its neighbours, up to eight, was known to have the entry's answer, 0 to 1, each by how near it is; null
    #: where nobody looked.
    agreement: float | None
    verifier: str
    veto: str
    #: (feature, value, effect on the score in log-odds), strongest first.
    reasons: list[tuple[str, float, float]]
    features: dict[str, float]
    #: Whether one answer serves both; null where nobody could tell, or nobody looked.
    agreed: bool | None
    judged_by: str
    saved_usd: str
    writer: str
    api_key_id: str
    provider: str
    model: str

    @classmethod
    def of(cls, row: NearQuestion, texts: TeamTexts) -> NearQuestionShown:
        """Show one."""
        pair = texts.find_pair(row)
        return cls(
            id=row.pk,
            at=row.at,
            kind=row.kind,
            namespace=row.namespace,
            request_id=row.request_id,
            entry_key=row.entry_key,
            asked=pair.asked if pair is not None else None,
            matched=pair.matched if pair is not None else None,
            cosine=row.cosine,
            score=row.score,
            threshold=row.threshold,
            risk=row.risk,
            risk_limit=row.risk_limit,
            agreement=row.agreement,
            verifier=row.verifier,
            veto=row.veto,
            reasons=[tuple(reason) for reason in row.reasons],
            features=row.features,
            agreed=row.agreed,
            judged_by=row.judged_by,
            saved_usd=usd(row.saved_usd_nanos),
            writer=row.writer,
            api_key_id=row.api_key_id,
            provider=row.dialect,
            model=row.model,
        )


class NearQuestionsShown(Schema):
    """Some near questions, newest first."""

    near_questions: list[NearQuestionShown]
    #: Continues the list with `before`; "" at its end.
    next: str


class QuarantinedShown(Schema):
    """An entry that answers no near questions; its own question it does."""

    entry_key: str
    namespace: str
    model: str
    #: `reported` or `diverse`.
    reason: str
    #: How diverse the prompts were that it answered (0 to 1), and how many; null where that was not the reason.
    diversity: float | None
    prompts: int | None
    at: datetime
    #: Mail address of who reported it, or `API key …`; "" for the server itself.
    by: str
    #: Whether every worker knows; it is tried again until they do.
    is_in_force: bool

    @classmethod
    def of(cls, row: QuarantinedEntry) -> QuarantinedShown:
        """Show one."""
        return cls(
            entry_key=row.entry_key,
            namespace=row.namespace,
            model=row.model,
            reason=row.reason,
            diversity=row.diversity,
            prompts=row.prompts,
            at=row.at,
            by=row.by,
            is_in_force=row.is_told,
        )


class ReportGiven(Schema):
    """A request whose answer was for another question."""

    model_config = ConfigDict(extra="forbid")

    request_id: str = Field(min_length=1, max_length=64)


class ReleasedShown(Schema):
    """An entry that may answer near questions again."""

    entry_key: str
    is_in_force: bool


class PairGiven(Schema):
    """Two prompts."""

    model_config = ConfigDict(extra="forbid")

    asked: str
    stored: str
    #: By whose evidence it is judged too; "" for the fixed thresholds alone.
    namespace: str = Field(default="", max_length=128)


class FeatureShown(Schema):
    """One difference between two prompts, and by how much log-odds it moved the score; null where there is no score."""

    name: str
    value: float
    effect: float | None


class ComparisonShown(Schema):
    """What becomes of a prompt where another one was answered before."""

    #: `same`, `left_out`, `vetoed`, `unknown` (for want of an embedder), `hit_safe`, `hit_balanced` or `no_hit`. By the
    #: evidence of a namespace: `hit_risk`, `trapped` or `risky` in place of the last three.
    verdict: str
    asked_normal: str
    stored_normal: str
    asked_left_out: str | None
    stored_left_out: str | None
    veto: str | None
    cosine: float | None
    score: float | None
    safe_threshold: float
    balanced_threshold: float
    #: A difference that no evidence opens below the balanced threshold; "" for none.
    trap: str
    #: How likely the pair is to want two answers, and up to what the namespace serves; null without such a rule in force. A pair
    #: alone has no neighbours: their agreement counts as a quarter.
    risk: float | None
    risk_limit: float | None
    verifier: str
    embedder: str
    features: list[FeatureShown]
    problem: str

    @classmethod
    def of(cls, found: Comparison) -> ComparisonShown:
        """Show one."""
        return cls(
            verdict=found.verdict,
            asked_normal=found.asked_normal,
            stored_normal=found.stored_normal,
            asked_left_out=found.asked_left_out,
            stored_left_out=found.stored_left_out,
            veto=found.veto,
            cosine=found.cosine,
            score=found.score,
            safe_threshold=found.safe_threshold,
            balanced_threshold=found.balanced_threshold,
            trap=found.trap,
            risk=found.risk,
            risk_limit=found.risk_limit,
            verifier=found.verifier,
            embedder=found.embedder,
            features=[FeatureShown(name=one.name, value=one.value, effect=one.effect) for one in found.features],
            problem=found.problem,
        )


@router.get("/evidence", auth=_READ, response=list[EvidenceShown], operation_id="semantics.evidence")
def list_evidence(request: TeamRequest, days: int = 30, namespace: str = "") -> list[EvidenceShown]:
    """Return what near questions of the last days (1 to 400, as far as the plan goes) came to, by namespace, and the thresholds learned of them.

    With `namespace` of that one alone: none where it has neither settings of its own nor figures.
    """
    team = request.team_context.team
    since = _today() - timedelta(days=queries.checked_days(team, days) - 1)
    return [EvidenceShown.of(view) for view in queries.namespaces_of(team, since, namespace)]


@router.get("/evidence/days", auth=_READ, response=list[DayShown], operation_id="semantics.evidence.days")
def list_days(request: TeamRequest, days: int = 30, namespace: str = "") -> list[DayShown]:
    """Return what near questions came to on each of the last days (1 to 400, as far as the plan goes), UTC, of one namespace or of all together."""
    team, until = request.team_context.team, _today()
    since = until - timedelta(days=queries.checked_days(team, days) - 1)
    found = queries.days_of(team, since, until, namespace)
    return [
        DayShown(day=since + timedelta(days=at), **FiguresShown.of(figures).model_dump())
        for at, figures in enumerate(found)
    ]


@router.get("/near-questions", auth=_READ, response=NearQuestionsShown, operation_id="semantics.nearQuestions.list")
def list_near_questions(
    request: TeamRequest,
    namespace: str = "",
    kind: Literal["", "hit", "shadow", "judged", "reported"] = "",
    wrong: bool = False,
    before: str = "",
) -> NearQuestionsShown:
    """Return near questions, newest first, 25 at a time: those that were served or would have been, or those of a kind."""
    team = request.team_context.team
    page = queries.near_questions(team, HitFilters(namespace, kind, is_wrong=wrong), before=before)
    texts = TeamTexts.of(current_secrets(), team)
    return NearQuestionsShown(near_questions=[NearQuestionShown.of(row, texts) for row in page.rows], next=page.cursor)


@router.get("/near-questions/{id}", auth=_READ, response=NearQuestionShown, operation_id="semantics.nearQuestions.get")
def get_near_question(request: TeamRequest, id: str) -> NearQuestionShown:  # noqa: A002 - a member of the path
    """Return one near question."""
    team = request.team_context.team
    return NearQuestionShown.of(queries.get_near_question(team, id), TeamTexts.of(current_secrets(), team))


@router.post("/reports", auth=_REPORT, response={201: QuarantinedShown}, operation_id="semantics.report")
def report_bad_hit(request: TeamRequest, body: ReportGiven) -> Status[QuarantinedShown]:
    """Say that the answer of a request was for another question: its entry answers no near questions any more, at once."""
    row = services.report_bad_hit(request.team_context.team, body.request_id, actor=Actor.of(request))
    row.is_told = tell_now(row)
    return Status(201, QuarantinedShown.of(row))


@router.get("/quarantine", auth=_READ, response=list[QuarantinedShown], operation_id="semantics.quarantine.list")
def list_quarantine(request: TeamRequest) -> list[QuarantinedShown]:
    """Return the entries that answer no near questions, newest first, up to 200."""
    return [QuarantinedShown.of(row) for row in queries.quarantine_of(request.team_context.team)]


@router.delete(
    "/quarantine/{entry_key}", auth=_MANAGE, response=ReleasedShown, operation_id="semantics.quarantine.release"
)
def release(request: TeamRequest, entry_key: str) -> ReleasedShown:
    """Let an entry answer near questions again."""
    row = services.release(request.team_context.team, entry_key, actor=Actor.of(request))
    return ReleasedShown(entry_key=row.entry_key, is_in_force=tell_now(row))


@router.post("/compare", auth=_READ, response=ComparisonShown, operation_id="semantics.compare")
def compare_prompts(request: TeamRequest, body: PairGiven) -> ComparisonShown:
    """Say what becomes of a prompt where another one was answered before: every feature, veto, score and verdict."""
    semantics = semantics_of(request.team_context.team.pk)
    settings = settings_for(semantics, body.namespace) if body.namespace else OFF
    return ComparisonShown.of(compare(body.asked, body.stored, settings))


def _today() -> date:
    return datetime.now(UTC).date()
