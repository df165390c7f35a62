"""Words with which answers say that they do not answer: N/A, refusals, and other languages.

Each pattern says that a text does not tell something, that something is not known, or that the
model does not help. They are bound to verbs and nouns of telling, so that a fact that is put
negatively ("Die Lampe enthält kein Quecksilber") is not taken for a denial.
"""

import re
from collections.abc import Sequence

_NOTHING = (
    r"n\s?[./]\s?a|NA|not (?:applicable|available|specified|stated|reported|given|known|found)"
    r"|unknown|undetermined|unspecified|nil|null|no (?:answer|data|information)"
    r"|k\. ?a|keine? (?:angaben?|antwort|information(?:en)?)|nicht (?:zutreffend|bekannt|angegeben)"
    r"|unbekannt|onbekend|niet (?:van toepassing|bekend|vermeld)|geen (?:antwoord|informatie)"
    r"|sans objet|inconnue?|non (?:applicable|précisée?|renseignée?|disponible|spécifiée?)"
    r"|no (?:aplica|aplicable|disponible|especificad[oa]|consta|se sabe|lo sé)|desconocid[oa]"
    r"|não (?:se aplica|aplicável|disponível|especificad[oa]|informad[oa]|sei)|desconhecid[oa]"
    r"|non (?:applicabile|disponibile|specificat[oa]|not[oa]|lo so)|sconosciut[oa]"
    r"|неизвестно|не (?:применимо|указан[оаы]?|знаю)|нет (?:данных|ответа|информации)"
    r"|不适用|不適用|不详|不詳|未知|不明|不知道|不知|无|無|なし|該当なし|不明です|わかりません"
    r"|해당 ?없음|알 수 없음|없음|모름"
)
_NOTHING_SAID = re.compile(rf"(?i)\W*(?:{_NOTHING})\W*")
_NONE = re.compile(
    rf"(?i)\W*(?:{_NOTHING}|none|keine[rs]?|aucune?|néant|ningun[oa]|nenhuma?|nessun[oa]|geen)\W*"
)
_LONGEST = 40
"""Characters of these at most, with signs."""

_REFUSES = (
    r"\b(?:I|we)(?:['’]m| am| are)?(?: sorry,? but I)? ?"
    r"(?:can(?:not| not|['’]t)|could(?: not|n['’]t)|won['’]t|will not|not able to|unable to"
    r"|must decline to|decline to)(?: \w+){0,2}? "
    r"(?:help|assist|comply|fulfil\w*|support|continue|share|engage|do (?:that|this|so))\b"
    r"|\bI (?:do not|don['’]t) have access\b"
)
_GERMAN = (
    r"\bnicht\b(?:\s[\w,]+){0,4}?\s(?:erwähnt|genannt|angegeben|beschrieben|spezifiziert|beantwort\w+"
    r"|bekannt|hervor|ersichtlich|aufgeführt|thematisiert|helfen|weiterhelfen|entnehmen)\b"
    r"|\b(?:erwähn|nenn|beschreib|spezifizier|sag|behandel|weiß)\w*(?:\s\w+){0,5}?\snichts?\b"
    r"|\bnichts?\b(?:\s\w+)?\s(?:im|in \w+)\s(?:Text|Artikel|Kontext|Dokument|Auszug)"
    r"|\bkeine?[nrms]?(?:\s\w+){0,3}?\s(?:Angabe|Information|Hinweis|Auskunft|Erwähnung|Einzelheit"
    r"|Antwort)"
)
_FRENCH = (
    r"\bn(?:e |['’])(?:\w+['’ ]){0,3}?(?:pas|aucun\w*|point)\b(?:\s[\w'’]+){0,3}?\s?"
    r"(?:mentionn|précis|indiqu|spécifi|décri|fourni|aborde|dit|parl|répond|savoir|explicit)\w*"
    r"|\bn(?:e |['’])(?:(?:le|la|les|l|en|y|est|sont|a|ont)[ '’])*"
    r"(?:mentionn|précis|indiqu|spécifi|décri|fourni|abord|di[ts]|parl|répond|sai[st]|peu[tx])\w*\b"
    r"(?:\s[\w'’]+){0,2}?\s(?:pas|rien)\b(?!\s(?:être|voir|voler))"
    r"|\baucune? (?:\w+ )?(?:information|mention|indication|précision|réponse)"
)
_SPANISH = (
    r"\bno (?:(?:se|lo|la|los|las|le|nos|te|me|es|está|fue|han? sido) )*"
    r"(?:menciona|especific|indic[ao]|dice|proporciona|describ|detalla|precisa|explica|aclara"
    r"|informa|aborda|sé|sabe|puedo|contienen? (?:\w+ )?(?:información|mención|datos)"
    r"|hay (?:\w+ )?(?:información|mención|datos sobre))"
    r"|\b(?:ninguna|sin) (?:información|mención|indicación)"
)
_PORTUGUESE = (
    r"\bnão (?:(?:se|o|a|os|as|lhe|é|está|foi|foram|são|há) )*"
    r"(?:menciona|especific|indica|diz|fornec|descrev|descrit|detalha|precisa|explica|esclarec"
    r"|informa|aborda|sei|sabe|posso|cont[êé]m (?:\w+ )?(?:informaç|menç)|informaç|menç)"
    r"|\b(?:nenhuma|sem) (?:informaç|menç|indicaç)"
)
_ITALIAN = (
    r"\bnon (?:(?:si|lo|la|li|le|ne|è|sono|viene|vengono|è stat\w|ci sono|c['’]è) )*"
    r"(?:menziona|specific|indica|dice|fornisc|descri|dettagli|precisa|spiega|riporta|parla|so\b|sa\b"
    r"|posso|contiene (?:\w+ )?(?:informazion|menzion)|informazion|menzion)"
    r"|\bnessuna? (?:informazion|menzion|indicazion)"
)
_DUTCH = (
    r"\bniet\b(?:\s\w+){0,4}?\s(?:vermeld|genoemd|aangegeven|beschreven|gespecificeerd|bekend"
    r"|besproken|duidelijk|helpen|beantwoorden)\b"
    r"|\b(?:vermeldt?|noemt?|beschrijft|zegt|specificeert|weet|geeft)(?:\s\w+){0,5}?\sniets?\b"
    r"|\bniets?\b(?:\s\w+)?\sin (?:de|het|deze|dit) (?:tekst|artikel|context|document|passage)"
    r"|\bgeen (?:\w+ ){0,2}?(?:informatie|vermelding|gegevens over|antwoord)\b"
)
_RUSSIAN = (
    r"\bне (?:\w+ ){0,2}?(?:упом\w+|указ\w+|говор\w+|сказано|описан\w*|описыва\w+|сообща\w+"
    r"|привод\w+|уточн\w+|знаю|известн\w+|ясно|помочь"
    r"|содерж\w+ (?:\w+ )?(?:информац|сведен|данных об?))"
    r"|\bнет (?:\w+ ){0,2}?(?:информации|сведений|упоминани\w+|данных об?)"
)
_CHINESE = (
    r"(?:没有?|沒有?|并未|並未|未曾|未|不)[^，。！？\s]{0,6}?(?:提到|提及|说明|說明|提供|给出|給出|指出|描述"
    r"|涉及|介绍|介紹|报告|報告|明确|明確|知道|清楚)"
    r"|(?:没有|沒有|无|無|缺乏)[^，。！？\s]{0,4}?(?:相关|相關|有关|有關|此|该|該|任何)?(?:信息|資訊|资料|資料|记载|記載|相关内容|相關內容)"
    r"|(?:无法|無法|不能)[^，。！？\s]{0,6}?(?:回答|确定|確定|得知|判断|判斷|知道|帮助|幫助|协助|協助|提供|满足|滿足)"
)
_JAPANESE = (
    r"(?:記載|言及|記述|説明|明記|情報|触れ|示さ|述べ|書か|回答|答え|対応|手伝い|判断|特定)"
    r"[^、。！？\s]{0,8}?(?:ない|ません|おらず|なし|ありません)"
    r"|(?:わか|分か)(?:ら|り)(?:ない|ません)|不明(?:です|である|だ)"
)
_KOREAN = (
    r"(?:언급|명시|설명|기재|정보|서술|기술|내용|제공|답변|도와|도움)\S{0,4}(?:\s\S{1,6}){0,3}?"
    r"\s?(?:않|없|못)|(?:알|찾을) 수 없|나와 있지 않|나오지 않|모르|모릅니다"
)
_LATIN = (
    (_REFUSES, "i i'm we"),
    (_GERMAN, "nicht nichts kein keine keinen keiner keines keinem"),
    (_FRENCH, "ne n' aucun aucune"),
    (_SPANISH, "no sin ninguna"),
    (_PORTUGUESE, "não sem nenhuma"),
    (_ITALIAN, "non nessun nessuna"),
    (_DUTCH, "niet niets geen"),
)
_BY_WORD = {word: re.compile(f"(?i){p}") for p, words in _LATIN for word in words.split()}
"""By words that a sentence has if the pattern matches, which is faster than to try them all."""
_RUNS = frozenset(re.split("['’]", word)[0] for word in _BY_WORD)
"""What these words begin with, up to an apostrophe."""
_OTHER_SCRIPTS = re.compile("(?i)" + "|".join((_RUSSIAN, _CHINESE, _JAPANESE, _KOREAN)))


def is_none(answer: str) -> bool:
    """Whether a whole answer stands for none; "None", with more behind it, is a statement."""
    return len(answer) <= _LONGEST and bool(_NONE.fullmatch(answer))


def denies(sentence: str, runs: Sequence[str]) -> bool:
    """Whether a sentence in lower case, with its runs of letters and digits, is such a denial;
    English reports are known elsewhere.
    """
    if not _RUNS.isdisjoint(runs):
        words = _BY_WORD.keys() & _separated(sentence).split()
        if any(_BY_WORD[word].search(sentence) for word in words):
            return True
    if len(sentence) <= _LONGEST and _NOTHING_SAID.fullmatch(sentence):
        return True
    return not sentence.isascii() and bool(_OTHER_SCRIPTS.search(sentence))


def _separated(sentence: str) -> str:
    """A sentence without its stop, and with the French negation apart from its verb."""
    text = f" {sentence}"
    if "'" in text or "’" in text:
        text = text.replace("’", "'").replace(" n'", " n' ")
    return text.rstrip('.!?"”)*')
