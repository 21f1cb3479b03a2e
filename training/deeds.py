"""Who did what to whom: intents made of verbs, in active and passive, for roles that are exchanged."""

from __future__ import annotations

from typing import Final

from training.generating import Intent

#: Base, past, participle.
_VERBS: Final = """call called called|help helped helped|invite invited invited|accuse accused accused|follow followed followed|praise praised praised
beat beat beaten|hire hired hired|thank thanked thanked|kiss kissed kissed|blame blamed blamed|remember remembered remembered|marry married married
choose chose chosen|teach taught taught|forgive forgave forgiven|betray betrayed betrayed|rescue rescued rescued|replace replaced replaced
defeat defeated defeated|visit visited visited|interview interviewed interviewed|photograph photographed photographed|push pushed pushed
trust trusted trusted|insult insulted insulted|inspire inspired inspired|report reported reported|pay paid paid|meet met met"""
_THINGS: Final = """repair repaired repaired|sell sold sold|paint painted painted|steal stole stolen|break broke broken|design designed designed
clean cleaned cleaned|hide hid hidden|draw drew drawn|build built built|lose lost lost|order ordered ordered|write wrote written|drive drove driven
buy bought bought|like liked liked|find found found|use used used|leave left left|see saw seen"""


def _split(lines: str) -> list[list[str]]:
    return [verb.split() for verb in lines.replace("\n", "|").split("|")]


def deeds() -> list[Intent]:
    """Return an intent for each verb."""
    found = []
    for base, past, participle in _split(_VERBS):
        wordings = [
            f"Did {{name1}} {base} {{name2}}?",
            f"Was {{name2}} {participle} by {{name1}}?",
            f"Is it true that {{name1}} {past} {{name2}}?",
            f"Is it true that {{name2}} was {participle} by {{name1}}?",
        ]
        traps = [
            ("negation", f"Did {{name1}} not {base} {{name2}}?"), ("scope", f"Why did {{name1}} {base} {{name2}}?"),
            ("tense", f"Will {{name1}} {base} {{name2}}?"), ("scope", f"Did {{name1}} {base} only {{name2}}?"),
            ("other", f"Was {{name2}} {participle} by somebody other than {{name1}}?"), ("tense", f"Did {{name1}} use to {base} {{name2}}?"),
        ]  # fmt: skip
        found.append(Intent(f"deed_{base}", wordings, traps, [("name1", "name2")]))
    for base, past, participle in _split(_THINGS):
        wordings = [
            f"Did {{name1}} {base} the {{product1}}?",
            f"Was the {{product1}} {participle} by {{name1}}?",
            f"Is it {{name1}} who {past} the {{product1}}?",
            f"The {{product1}}: was it {participle} by {{name1}}?",
        ]
        traps = [
            ("role", f"Was {{name1}} {participle} by the {{product1}}?"), ("role", f"Was {{name1}} {participle} by the {{product1}}?"),
            ("role", f"Did the {{product1}} {base} {{name1}}?"), ("negation", f"Did {{name1}} not {base} the {{product1}}?"),
            ("scope", f"When did {{name1}} {base} the {{product1}}?"), ("condition", f"Did {{name1}} {base} the new {{product1}}?"),
            ("order", f"Did {{name1}} {base} the {{product1}} before {{name2}} did?"),
        ]  # fmt: skip
        found.append(Intent(f"thing_{base}", wordings, traps))
    return found
