"""Words after which something follows, by language: articles, prepositions, conjunctions.

Words that also end sentences are left out, such as particles of verbs. A word of one language may
be an ordinary one in another, so a text's language is told first, by its commonest words.
"""

from typing import NamedTuple


class Language(NamedTuple):
    common: frozenset[str]
    dangling: frozenset[str]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _language(common: str, dangling: str) -> Language:
    return Language(_words(common), _words(dangling))


MAY_END = _words("that which such this these is are was were be my your our his")
"""English words that seldom end a text, yet may: 'as such', 'yes, they are'."""

ENGLISH = _language(
    "the of and to in is was were are that for with on as by at from this it not be have has",
    "a an the of to in on at by for from with and or but nor as than into onto upon between among "
    "because although whereas while whether during via per including its their whose",
)
LANGUAGES = (
    ENGLISH,
    _language(  # German
        "der die das und ist sind nicht mit von den dem ein eine wird werden wurde wurden für im",
        "der den dem des einen einem einer eines und oder sondern sowie von vom im ins am zum zur "
        "beim für durch bei dass weil obwohl während zwischen über ihre ihren ihrer seine seinen",
    ),
    _language(  # French
        "le la les de des du et est sont dans en une un pour que qui sur au aux pas ce cette",
        "le la les un une de du des au aux et ou mais dans en avec pour par sur sous sans chez que "
        "qui dont entre leur leurs ses ces cette comme",
    ),
    _language(  # Spanish
        "el la los las de del en y es son que un una por con para se no su como al",
        "el la los las un una unos unas de del al a en con por para sin sobre entre desde y e o u "
        "pero que su sus como según",
    ),
    _language(  # Portuguese
        "o a os as de do da dos das em no na e é são que um uma por com para se não como",
        "o a os as um uma uns umas de do da dos das em no na nos nas com por para sem sobre entre "
        "e ou mas que seu sua seus suas ao à pelo pela como",
    ),
    _language(  # Italian
        "il lo la i gli le di del della dei delle e è sono che un una per con in non si nel",
        "il lo la i gli le un uno una di del dello della dei degli delle a al alla ai alle da dal "
        "dalla in nel nella nei nelle con per su sul sulla tra fra e o ma che come",
    ),
    _language(  # Dutch
        "de het een en van is zijn niet met voor dat die te in op wordt werden werd er",
        "de het een en of maar van in bij met voor door naar dat omdat tussen tot hun zijn haar",
    ),
    _language(  # Russian
        "и в не на что с по как это из для от был была были к он она",
        "и или но а в во на с со к ко о об по из от для до при без под над между что чтобы как "
        "если",
    ),
    _language(  # Polish
        "i w na z do nie się jest to są że przez od dla oraz był była",
        "i a w we na z ze do od o po za przez dla przy oraz lub ale że który która które",
    ),
    _language(  # Turkish
        "ve bir bu için ile olarak olan da de değil",
        "ve veya ya ama fakat çünkü bir",
    ),
    _language(  # Arabic
        "في من على إلى أن هذا هذه التي الذي لا",
        "في من على إلى عن أن إن و أو ثم لكن التي الذي بين",
    ),
)

_CHINESE = (
    "以及 并且 而且 或者 但是 因为 由于 对于 关于 根据 例如 比如 並且 因為 由於 對於 關於 根據"
)
_JAPANESE = "を または および かつ ための について により という における"
_KOREAN = "를 및 또는 그리고"
DANGLING_ENDS = tuple(f"{_CHINESE} {_JAPANESE} {_KOREAN}".split())
"""Ends of texts in Chinese, Japanese and Korean after which something follows."""


def language_of(words: list[str]) -> Language:
    """The language of most of these words, which are in lower case; English if none stands out."""
    return max(LANGUAGES, key=lambda language: sum(w in language.common for w in words))
