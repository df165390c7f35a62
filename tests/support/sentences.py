"""Generates sentences as people write them, with the signs that mojibake is mistaken for.

`ordinary` sentences favour signs whose bytes in an 8-bit code page happen to be UTF-8; `accented`
ones have what real damage is seen on. Both are the same for the same seed.
"""

import random
from collections.abc import Iterator

MAC_ROMAN = (
    *(f"{operator}{operand}" for operator in "√≈" for operand in "π∞µΩ∑∏∫∂"),
    *("√π/2", "√πr", "2√πkT", "√Ω", "sin√π", "√∫f(x)dx", "√∑x", "√±1", "√≥0"),
    *("≈£5", "≈¥900", "≈±3", "≈°C", "∆µ", "∆Ω", "∆π", "∆£", "∆≤", "¬π", "¬Ω", "¬∂", "¬≤", "¬≥"),
    *("l’âge", "l’État", "d’être", "l’île", "l’é", "d’Ü", "«Évry", "«âge", "»à", "…était"),
    *("…à", "“é", "–à", "—É", "1914–É", "\xa0≤ 5", "\xa0≥ 7", "\xa0± 2", "\xa0∞"),
    *("\xa0élan", "\xa0Übung", "÷π", "÷∞", "€£", "ƒ∂", "ƒ∞", "ƒπ", "ƒ£9", "‹é", "›à", "CAFÈ®™"),
)
"""Fragments with pairs of signs of Mac Roman that are UTF-8, as far as they can be."""

WINDOWS = (
    *(f"{n} {unit}" for n in ("4", "1,200") for unit in ("Å²", "Å³", "Å°", "Å\xa0", "Å–", "Å’s")),
    *(
        "kcal/molÅ²",
        "e/Å³",
        "(2.1 Å²)",
        "Å™",
        "Ø½",
        "Ø¼ inch",
        "Ø\xa0",
        "Ø²",
        "3 ×½",
        "5 ×²",
        "×\xa0",
    ),
    *("NESTLÉ®", "NESTLÉ™", "NESTLÉ’S", "NESTLÉ’s", "ROSÉ”", "ROSÉ…", "CAFÉ—the bar", "CAFÉ–bar"),
    *("CAFÉ\xa0", "CAFÉ»", "JOSÉ†", "RENÉ°", "IRMÃ®", "IRMÃ™", "MANHÃ™"),
    *("AMANHÃ…", "AMANHÃ”", "CAFFÈ®", "CAFFÈ’S", "LUNEDÌ…", "COSÌ™", "PIÙ”", "PERÒ™", "MENÜ®"),
    *("PERÚ™", "MALMÖ®", "TROMSØ™", "UMEÅ®", "BUÐ™", "FRÞ®", "GARÇ®", "ARGÄ™", "VÍ®"),
    *("Voß’", "Voß’s", "Strauß™", "Groß–", "Fuß²", "Weiß®", "Straß…", "Preß\xa0", "Maß³", "Spaß”"),
    *(
        "Pelé’”",
        "Pelé™’s",
        "Nescafé®’s",
        "Nescafé™®",
        "café…”",
        "café\xa0–",
        "cliché’—",
        "voilà\xa0»",
    ),
    *(
        "allá”…",
        "allá»…",
        "manhã…”",
        "olá»™",
        "så…”",
        "på\xa0–",
        "aquí…”",
        "Benoî\xa0»",
        "caffè™’s",
    ),
)
"""The same for Windows-1252, which has Latin-1 in it."""

WORDS = (
    *("the surface measures", "equals", "was written for", "in the log of", "we compare it with"),
    *(
        "Why is this",
        "How large is",
        "The keeper noted",
        "and then",
        "as stated by",
        "near",
        "where",
    ),
)

ALSO = (
    *("nm²", "µm", "25 °C", "±3", "×", "½ cup", "ß-carotene", "© 2019", "®", "€5", "£9", "naïve"),
    *("Zoë", "Müller", "Björn", "Åsa", "Søren", "Þór", "Núñez", "Lê", "François", "“log”", "2–3"),
)
"""Signs that stand in such sentences, too, and mostly prove that they are sound."""

ACCENTED = (
    *("Müller", "Søren Åberg", "José Núñez", "François Lefèvre", "Sigurðsson", "Þóra", "Ångström"),
    *("Nguyễn Thị Hà", "Škvorecký", "Łukasz", "Dvořák", "Ionuț Șerban", "Gülşen", "Παπαδόπουλος"),
    *(
        "Иванов",
        "山田太郎",
        "naïve",
        "café",
        "façade",
        "São Tomé",
        "Perú",
        "Malmö",
        "Tromsø",
        "œuvre",
    ),
    *(
        "25 °C",
        "10 µm",
        "R² = 0.9",
        "5 ± 2",
        "3 × 4",
        "½",
        "α = 0.05",
        "β",
        "μg",
        "σ²",
        "ΔT",
        "λ ≈ 590",
    ),
    *(
        "x ≤ 5",
        "y ≥ 7",
        "−3",
        "∑",
        "√π",
        "→",
        "∞",
        "12 Å²",
        "10 km²",
        "€5",
        "£9",
        "¥900",
        "©",
        "MATLAB®",
    ),
    *(
        "Acme™",
        "it’s",
        "“log”",
        "2–3",
        "dusk — dawn",
        "and so on…",
        "•",
        "ﬁrst",
        "𝑥",
        "« là »",
        "✓",
        "´",
    ),
)


def ordinary(count: int, seed: int = 0) -> Iterator[str]:
    """Sentences of one to three fragments of one code page; a tenth has another sign besides."""
    chance = random.Random(seed)
    for _ in range(count):
        fragments = chance.choice((MAC_ROMAN, WINDOWS))
        chosen = chance.choices(fragments, k=chance.choice((1, 1, 1, 2, 3)))
        if chance.random() < 0.1:
            chosen.append(chance.choice(ALSO))
        yield _sentence(chosen, chance)


def accented(count: int, signs: int, seed: int = 0) -> Iterator[str]:
    """Sentences with as many fragments of `ACCENTED`."""
    chance = random.Random(seed)
    for _ in range(count):
        yield _sentence(chance.choices(ACCENTED, k=signs), chance)


def _sentence(fragments: list[str], chance: random.Random) -> str:
    """Every eighth sentence begins with its first fragment."""
    sentence = " ".join(f"{chance.choice(WORDS)} {f}" for f in fragments)
    if chance.random() < 0.125:
        sentence = f"{fragments[0]} {sentence}"
    return sentence + chance.choice((".", "", "?"))
