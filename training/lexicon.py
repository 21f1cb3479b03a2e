"""Write the word lists of `engine/semantic/lexicon/` from WordNet 3.0 and a tokenizer's vocabulary.

    python -m training.lexicon WORDNET_FOLDER TOKENIZER_JSON

WORDNET_FOLDER is the `dict` folder of WordNet 3.0 (Debian package `wordnet-base`). TOKENIZER_JSON is that of the
embedding model: its word pieces stand in order of how frequent they are.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

TARGET = Path(__file__).parent.parent / "src/agentcache/engine/semantic/lexicon"
PARTS = ("noun", "verb", "adj", "adv")
#: A sense further down than this is so rare that it would call different things the same.
SYNONYM_SENSE_MAX = {"noun": 2, "verb": 3, "adj": 2, "adv": 2}
#: Kinds with more members are too wide to say that two members are alternatives.
KIND_MEMBERS_MAX = 90


def vocabulary(path: Path) -> list[str]:
    """Return the whole words of a tokenizer, the most frequent first."""
    pieces = json.loads(path.read_text(encoding="utf-8"))["model"]["vocab"]
    ordered = sorted(pieces, key=pieces.__getitem__)
    return [piece for piece in ordered if re.fullmatch(r"[a-z]{2,}", piece)]


def synsets(folder: Path, part: str) -> Iterator[tuple[str, list[str], list[tuple[str, str, str]]]]:
    """Yield id, words and (symbol, target id, source/target numbers) of each synset of a part of speech."""
    for line in (folder / f"data.{part}").read_text(encoding="utf-8").splitlines():
        if line.startswith("  "):
            continue
        fields = line.split("|")[0].split()
        count = int(fields[3], 16)
        words = [re.sub(r"\(.*\)", "", word) for word in fields[4 : 4 + 2 * count : 2]]
        rest = fields[4 + 2 * count :]
        pointers = [(rest[1 + 4 * index], rest[2 + 4 * index], rest[4 + 4 * index]) for index in range(int(rest[0]))]
        yield fields[0], words, pointers


def sense_numbers(folder: Path, part: str) -> dict[tuple[str, str], int]:
    """Return for (word, synset id) which sense of the word it is, the most frequent being 1."""
    found = {}
    for line in (folder / f"index.{part}").read_text(encoding="utf-8").splitlines():
        if line.startswith("  "):
            continue
        fields = line.split()
        count = int(fields[2])
        for number, offset in enumerate(fields[-count:], start=1):
            found[fields[0], offset] = number
    return found


def groups(folder: Path, known: set[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield lines (`s` synonyms, `a` an antonym pair, `k` members of one kind) with their words."""
    for part in PARTS:
        senses = sense_numbers(folder, part)
        every = list(synsets(folder, part))
        words_of = {offset: words for offset, words, _ in every}
        kinds: dict[str, set[str]] = defaultdict(set)
        for offset, words, pointers in every:
            plain = [word.lower() for word in words]
            members = [
                word for word in plain if word in known and senses.get((word, offset), 9) <= SYNONYM_SENSE_MAX[part]
            ]
            if len(set(members)) > 1:
                yield "s", tuple(sorted(set(members)))
            for symbol, target, numbers in pointers:
                if symbol == "!" and target in words_of:
                    source, other = (int(numbers[at : at + 2], 16) for at in (0, 2))
                    pair = {plain[source - 1], words_of[target][other - 1].lower()} if source and other else set()
                    if len(pair) == 2 and pair <= known:
                        yield "a", tuple(sorted(pair))
                if part == "noun" and symbol in {"@", "@i"}:
                    first = [word for word in plain if word in known and senses.get((word, offset), 9) <= 2]
                    kinds[target].update(first[:1])
        for members in kinds.values():
            if 3 <= len(members) <= KIND_MEMBERS_MAX:
                yield "k", tuple(sorted(members))


def irregular(folder: Path, known: set[str]) -> Iterator[str]:
    """Yield lines of an irregular form and its base."""
    for part in PARTS:
        for line in (folder / f"{part}.exc").read_text(encoding="utf-8").splitlines():
            form, base = line.split()[:2]
            if form in known and base in known and form != base:
                yield f"{form} {base}"


def main(wordnet: str, tokenizer: str) -> None:
    """Write the three lists."""
    words = vocabulary(Path(tokenizer))
    (TARGET / "frequent.txt").write_text("\n".join(words[:9000]) + "\n", encoding="utf-8")
    known = set(words)
    lines = sorted({f"{kind} {' '.join(members)}" for kind, members in groups(Path(wordnet), known)})
    (TARGET / "relations.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    forms = sorted(set(irregular(Path(wordnet), known)))
    (TARGET / "irregular.txt").write_text("\n".join(forms) + "\n", encoding="utf-8")
    print(len(words), Counter(line[0] for line in lines), len(forms))


if __name__ == "__main__":
    main(*sys.argv[1:])
