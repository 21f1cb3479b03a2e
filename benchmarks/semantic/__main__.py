"""Print all tables of the verifier and the controller, and draw the curves: `make bench-semantic`."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from agentcache.engine.semantic.features import pair_features
from agentcache.engine.semantic.texts import analyse
from agentcache.engine.semantic.verifier import Verifier, load_verifier
from benchmarks.semantic import calibrated, conversing, rivals, stream
from benchmarks.semantic.drawing import draw
from benchmarks.semantic.measuring import Rule, at_hit_rate_of, curve, row, share
from benchmarks.semantic.sets import Scored, held_out_set, other_sets, trained_sets
from training.embedding import VectorCache
from training.pairs import by_class
from training.train import DATA, ROOT

TARGETS = (0.03, 0.05)
ORDERS = (1, 2)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--work", type=Path, default=ROOT / "build/semantic")
    parser.add_argument("--models", type=Path, help="folder of other embedders, see benchmarks/semantic/embedders.py")
    parser.add_argument("--pictures", type=Path, default=ROOT / "docs/images")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--only-streams", action="store_true", help="measure the controller alone")
    only.add_argument("--only-embedders", action="store_true", help="measure what is served by other embedders alone")
    only.add_argument("--only-conversations", action="store_true", help="measure conversations alone")
    given = parser.parse_args()
    if given.only_conversations:
        _conversations()
        return
    questions = list(by_class(given.data))
    if given.only_streams and not questions:
        parser.error(f"there is no stream in {given.data}; name the folder with --data")
    cache, verifier = VectorCache(given.work), load_verifier()
    print(f"verifier {verifier.version}: safe {verifier.safe_threshold}, balanced {verifier.balanced_threshold}\n")
    if given.only_embedders and not given.data.is_dir():
        parser.error(f"there is no folder {given.data}; name it with --data")
    if given.only_embedders:
        _embedders(given.data, cache, given.models)
        return
    if given.only_streams:
        _streams(questions, cache, verifier)
        return
    sets = [*trained_sets(given.data, cache), held_out_set(cache, verifier)]
    _by_kind(sets, verifier)
    if given.data.is_dir():
        sets += other_sets(given.data, cache, verifier)
    with rivals.opened(cache) as beside:
        for scored in sets:
            _one_set(scored, verifier, beside)
    _pictures(sets, verifier, given.pictures)
    if questions:
        _streams(questions, cache, verifier)
    _conversations()
    _speed(sets[0], verifier)


def _one_set(scored: Scored, verifier: Verifier, beside: rivals.Rivals) -> None:
    """One threshold for all sets: that of the model that ships."""
    count = int((scored.labels == 1).sum())
    _table(f"{scored.name}: {count} equivalent, {len(scored.labels) - count} others", "rule|hit %|false %")
    rules = beside.rules(scored.pairs, scored.cosines)
    rules.append(Rule("verifier, safe", scored.scores, verifier.safe_threshold))
    rules.append(Rule("verifier, balanced", scored.scores, verifier.balanced_threshold))
    for rule in rules:
        _line(row(rule, scored.labels))
    if not 0 < count < len(scored.labels):
        return
    for name, naive in (("cosine ≥ .90", 0.90), ("cosine ≥ .95", 0.95)):
        other = Rule(name, scored.cosines, naive)
        equal = at_hit_rate_of(other, scored.scores, scored.labels)
        _line(row(Rule(f"verifier at the hit rate of {name}", scored.scores, equal), scored.labels))
    safe = Rule("safe", scored.scores, verifier.safe_threshold)
    equal = at_hit_rate_of(safe, scored.cosines, scored.labels)
    _line(
        row(Rule(f"cosine ≥ {equal:.3f}, at the hit rate of the verifier, safe", scored.cosines, equal), scored.labels)
    )
    print()


def _by_kind(sets: list[Scored], verifier: Verifier) -> None:
    _table("By kind at the safe threshold; cosine ≥ .95 beside it", "set|kind|pairs|verifier serves %|cosine serves %")
    for scored in sets:
        for kind in sorted({pair.kind for pair in scored.pairs}):
            part = scored.only(kind, np.array([pair.kind == kind for pair in scored.pairs]))
            for label in (1, 0):
                inside = part.labels == label
                if inside.any():
                    served, naive = part.scores[inside] >= verifier.safe_threshold, part.cosines[inside] >= 0.95
                    name = f"{kind[:66]} ({'same' if label else 'trap'})"
                    _line((scored.name, name, str(int(inside.sum())), share(served), share(naive)))
    print()


def _pictures(sets: list[Scored], verifier: Verifier, folder: Path) -> None:
    for scored, name in zip(sets, ("own", "checklist", "rewritten", "held-out", "quora"), strict=False):
        if not 0 < (scored.labels == 1).sum() < len(scored.labels):
            continue
        curves = {"verifier": curve(scored.scores, scored.labels), "cosine alone": curve(scored.cosines, scored.labels)}
        marks = {}
        for label, values, threshold in (
            ("safe", scored.scores, verifier.safe_threshold),
            ("cosine ≥ .95", scored.cosines, 0.95),
        ):
            served = values >= threshold
            marks[label] = float(served[scored.labels == 0].mean()), float(served[scored.labels == 1].mean())
        draw(folder / f"semantic-{name}.svg", f"Hits over false hits: {scored.name}", curves, marks)


def _streams(questions: list[tuple[str, str]], cache: VectorCache, verifier: Verifier) -> None:
    cache.add(text for text, _ in questions)
    _table(
        f"The controller on Banking77's stream ({len(questions):,} questions, two orders)",
        "target|order|hit %|wrong of hits %|risk served at the end",
    )
    for target in TARGETS:
        for seed in ORDERS:
            outcome = stream.run(questions, cache, verifier, target=target, seed=seed)
            _line((f"{target:.2f}", str(seed), *outcome.told))
    print()


def _embedders(data: Path, cache: VectorCache, models: Path | None) -> None:
    columns = [
        f"{name}: {what} %"
        for name in [name for name, *_ in calibrated.SETS] + [calibrated.HELD_OUT]
        for what in ("hit", "false")
    ]
    _table(
        "What is served by other embedders, without word pieces, at the safe threshold",
        "|".join(["embedder", "cosines", *columns]),
    )
    for cells in calibrated.run(data, cache, models):
        _line(cells)


def _conversations() -> None:
    """Through the whole product, which runs beside this process."""
    title = "Conversations whose last turns are alike and whose earlier turns are not"
    _table(title, "form|rule|traps|looked up|served|controls|served")
    for one in conversing.run():
        served = str(one.served) + "".join(f", {kind}: {hits}" for kind, hits in one.by_kind.most_common())
        figures = one.traps, one.looked_up, served, one.controls, one.controls_served
        _line((one.form, one.rule, *map(str, figures)))
    print()


def _speed(scored: Scored, verifier: Verifier) -> None:
    pairs = scored.pairs[:500]
    analyse.cache_clear()
    started = time.perf_counter()
    texts = [(analyse(pair.asked), analyse(pair.stored)) for pair in pairs]
    analysed = time.perf_counter()
    rows = [pair_features(asked, stored, 0.9, 0.0) for asked, stored in texts]
    compared = time.perf_counter()
    for values in rows:
        verifier.score(values)
    scored_at = time.perf_counter()
    _table("Milliseconds a candidate", "analysing two prompts|features|score")
    steps = (analysed - started, compared - analysed, scored_at - compared)
    _line(tuple(f"{1000 * seconds / len(pairs):.3f}" for seconds in steps))


def _table(title: str, columns: str) -> None:
    names = columns.split("|")
    print(f"{title}\n\n| {' | '.join(names)} |\n|{' --- |' * len(names)}")


def _line(cells: tuple[str, ...]) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
