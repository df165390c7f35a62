"""The stance of an answer, read from its own words."""

from collections.abc import Callable

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.answering import denials, stance
from pipeline.answering.stance import Sentence, stance_of


@pytest.mark.parametrize(
    "answer",
    [
        "The crew sorted the shells with a random forest of 300 trees.",
        "Salt content was logged every ten minutes by two buoys.",
        "Yes, the recordings are in the harbour's public archive.",
        "No.",
        "The authors did not use dropout.",
        "No data augmentation was applied.",
        "They trained without early stopping.",
        "The text focuses on mangroves. The seedlings were counted by drone.",
        "40",
    ],
)
def test_a_statement_answers(answer: str) -> None:
    assert stance_of(answer) == "answered"


@pytest.mark.parametrize(
    "answer",
    [
        "I don't know.",
        "I do not know the answer.",
        "The context does not say which optimiser was used.",
        "The context doesn’t mention any lens.",
        "There is no mention of a validation set in the text.",
        "The passages give no learning rate.",
        "The number of nests is not reported.",
        "It is unclear which lens was used.",
        "None of the passages describes the hardware.",
        "Not in the text.",
        "Nothing is mentioned about that.",
        "Sorry, I cannot answer this from the given text.",
        "The passages discuss mangroves. They do not mention any software.",
    ],
)
def test_a_denial_abstains(answer: str) -> None:
    assert stance_of(answer) == "abstained"


@pytest.mark.parametrize(
    "answer",
    [
        "The optimiser was probably Adam.",
        "It can be inferred that the nets were checked at dawn.",
        "The text suggests that the team used a recurrent network.",
        "The authors appear to have used a thermal camera.",
        "The camera is not named. However, the passages mention a resolution of 12 megapixels.",
        "The context does not mention dropout. It is likely that none was used.",
    ],
)
def test_an_inference_or_a_concession_hedges(answer: str) -> None:
    assert stance_of(answer) == "hedged"


@pytest.mark.parametrize("answer", ["", " \n\t", "...", "***"])
def test_an_answer_without_words_abstains(answer: str) -> None:
    assert stance_of(answer) == "abstained"


@pytest.mark.parametrize(
    "answer",
    [
        "The code is not publicly available.",
        "The code isn't openly available.",
        "The authors do not have permission to share data.",
        "The recordings have not been released yet.",
        "No code has been published.",
        "The weights are not shared, as the harbour forbids it.",
        "The software is not available.",
        "The keepers cannot share their data.",
    ],
)
def test_that_something_is_not_public_is_a_statement(answer: str) -> None:
    assert stance_of(answer) == "answered"


@pytest.mark.parametrize(
    "answer",
    [
        "The code is not available in the provided context.",
        "The data is not shared in the given passages.",
        "The context does not mention whether the code is publicly available.",
        "Information on the recordings is not available.",
        "Details of the software are not available.",
        "The text does not say that the code was released.",
        "The learning rate is not available.",
    ],
)
def test_that_a_text_does_not_tell_of_it_abstains(answer: str) -> None:
    assert stance_of(answer) == "abstained"


@given(
    st.sampled_from(
        [
            "The passages do not state the exact number",
            "The lens is not named",
            "The text doesn't specify the sites",
        ]
    ),
    st.sampled_from([", but ", ", although ", "; yet ", ": but ", ", except "]),
    st.sampled_from(
        ["at least 14 sites were visited", "for the lens of 90 mm", "the towers are listed by name"]
    ),
)
def test_a_denial_that_tells_something_in_the_same_sentence_hedges(
    denial: str, but: str, rest: str
) -> None:
    assert stance_of(f"{denial}{but}{rest}.") == "hedged"


@given(
    st.sampled_from(["does not mention any lens", "doesn't name the film"]),
    st.sampled_from(["describes towers", "focuses on herons", "discusses the tides of the bay"]),
)
def test_what_a_text_is_about_instead_tells_nothing(denial: str, topic: str) -> None:
    assert stance_of(f"The text {topic} but {denial}.") == "abstained"


@pytest.mark.parametrize(
    "answer",
    [
        "Before a survey, several steps can be taken to clean the lens.",
        "Surveys typically use drones.",
        "After a storm, common steps include drying the nets.",
        "It is important to dry the nets.",
    ],
)
def test_what_is_usual_hedges(answer: str) -> None:
    assert stance_of(answer) == "hedged"


@pytest.mark.parametrize(
    "rest",
    [
        "In general, nets are dried at dawn.",
        "However, surveys typically use drones.",
        "Commonly, the lens is cleaned, but it may be replaced.",
    ],
)
def test_what_is_usual_concedes_nothing_after_a_denial(rest: str) -> None:
    assert stance_of(f"The context does not mention the nets. {rest}") == "abstained"


def test_a_question_that_is_told_again_is_no_answer() -> None:
    asks = "The query asks about the lens on the tower."
    assert stance_of(f"{asks} None of the passages mentions it.") == "abstained"
    assert stance_of(f"{asks} It was a macro lens.") == "answered"


def test_a_denial_after_a_statement_takes_nothing_back() -> None:
    assert stance_of("Two buoys were used. Their maker is not mentioned.") == "answered"


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry, but I can't assist with that request.",
        "I’m sorry, but I can’t help with that.",
        "I cannot help with that.",
        "I am unable to comply with this request.",
        "Sorry, I won't do that.",
        "We are not able to assist you.",
        "I must decline to help.",
        "As an AI, I don't have access to the paper.",
    ],
)
def test_a_refusal_abstains(answer: str) -> None:
    assert stance_of(answer) == "abstained"


nothing = st.sampled_from(
    ["N/A", "n/a", "N.A", "NA", "None", "Not applicable", "Unknown", "Not available", "Null",
     "Unspecified", "No information", "k. A", "Keine Angabe", "Unbekannt", "Sans objet", "Aucune",
     "Non précisé", "No aplica", "Desconocido", "Ninguno", "Não se aplica", "Não informado",
     "Non applicabile", "Geen antwoord", "Неизвестно", "Нет данных", "不适用", "不详", "無",
     "該当なし", "不明", "해당 없음"]
)  # fmt: skip


@given(
    nothing,
    st.sampled_from([str, str.lower]),
    st.sampled_from(["{}", "{}.", "**{}**", "- {}", '"{}"', "({})", " {}。"]),
)
def test_a_word_for_no_answer_abstains(word: str, case: Callable[[str], str], form: str) -> None:
    assert stance_of(form.format(case(word))) == "abstained"


@given(
    st.sampled_from(["N/A", "NA", "None", "Unknown", "Null", "Unbekannt", "Aucune", "Ninguno"]),
    st.sampled_from(["of the nests", "parameters were fitted", "2 herons"]),
)
def test_a_statement_with_such_a_word_in_it_answers(word: str, rest: str) -> None:
    assert stance_of(f"{word} {rest}.") == "answered"


@pytest.mark.parametrize(
    "answer",
    [
        # German
        "Der Text enthält dazu keine Angaben.",
        "Das wird im Text nicht erwähnt.",
        "Der Artikel nennt die Zahl der Nester nicht.",
        "Die Zahl geht aus dem Text nicht hervor.",
        "Ich weiß es nicht.",
        "Die Auszüge sagen dazu nichts.",
        "Das steht nicht im Text.",
        "Dabei kann ich Ihnen leider nicht helfen.",
        # French
        "Le texte ne le mentionne pas.",
        "Le nombre de nids n'est pas précisé.",
        "L’article n’indique pas le nombre de nids.",
        "Aucune information n'est donnée sur les nids.",
        "Je ne sais pas.",
        "Le texte n'en parle pas.",
        "Je ne peux pas vous aider.",
        # Spanish
        "El texto no lo menciona.",
        "No se especifica el número de nidos.",
        "El artículo no contiene información sobre los nidos.",
        "No lo sé.",
        "Lo siento, no puedo ayudar con eso.",
        # Portuguese
        "O texto não menciona o número de ninhos.",
        "O número de ninhos não é especificado.",
        "Não há informações sobre os ninhos no texto.",
        "Não sei.",
        "Desculpe, não posso ajudar.",
        # Italian
        "Il testo non lo menziona.",
        "Il numero di nidi non è specificato.",
        "Il testo non contiene informazioni sui nidi.",
        "Non lo so.",
        "Il testo non ne parla.",
        "Mi dispiace, non posso aiutarti.",
        # Dutch
        "De tekst vermeldt dit niet.",
        "Het aantal nesten wordt niet genoemd.",
        "De tekst bevat geen informatie over de nesten.",
        "Ik weet het niet.",
        "Dat staat niet in de tekst.",
        "Daar kan ik u niet mee helpen.",
        # Russian
        "В тексте это не упоминается.",
        "Число гнёзд не указано.",
        "В статье нет информации о гнёздах.",
        "Я не знаю.",
        "Не указано в тексте.",
        "К сожалению, я не могу вам помочь.",
        # Chinese
        "文中没有提到这一点。",
        "文章未说明鸟巢的数量。",
        "文本中没有相关信息。",
        "根据所给的段落，无法确定鸟巢的数量。",
        "我不知道。",
        "资料中并没有相关内容。",
        "抱歉，我无法协助您。",
        "文中沒有提到這一點。",
        # Japanese
        "本文にはその記載がありません。",
        "巣の数については言及されていない。",
        "わかりません。",
        "申し訳ありませんが、お手伝いできません。",
        # Korean
        "본문에는 이에 대한 언급이 없습니다.",
        "둥지의 수는 명시되어 있지 않다.",
        "알 수 없습니다.",
        "본문에 나와 있지 않습니다.",
        "죄송하지만 도와드릴 수 없습니다.",
    ],
)
def test_a_denial_abstains_in_other_languages(answer: str) -> None:
    assert stance_of(answer) == "abstained"


@pytest.mark.parametrize(
    "answer",
    [
        "None of the lamps failed.",
        "The unknown parameter is the height of the tower.",
        "Unknown nests were marked with a flag.",
        "The birds lack vitamin A.",
        "The keepers can't help the ships in fog.",
        "N/A stands for a nest that was not there.",
        "A lack of reeds drives the herons away.",
        "Die Lampe enthält kein Quecksilber.",
        "Die Wärter schlafen nachts nicht.",
        "Les hérons ne nichent pas sur la tour.",
        "La lampe n'est pas rouge.",
        "Los nidos no están en la torre.",
        "La lámpara no contiene mercurio.",
        "Os ninhos não estão na torre.",
        "I nidi non sono sulla torre.",
        "De reigers broeden niet op de toren.",
        "Цапли не гнездятся на башне.",
        "В лампе нет ртути.",
        "苍鹭不在塔上筑巢。",
        "灯里没有汞。",
        "サギは塔に巣を作らない。",
        "왜가리는 탑에 둥지를 틀지 않는다.",
        "灯是琥珀色的。文中没有提到雨。",
    ],
)
def test_a_fact_that_is_put_negatively_answers(answer: str) -> None:
    assert stance_of(answer) == "answered"


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_any_text_has_a_stance(answer: str) -> None:
    assert stance_of(answer) in ("answered", "hedged", "abstained")


SEARCHED = {
    stance._DENIES: stance._denies,
    stance._GENERALISES: lambda sentence: stance.kind_of(sentence) in ("denies", "generalises"),
    stance._INFERS: lambda sentence: stance.kind_of(sentence) != "states",
    stance._CONCEDES: lambda sentence: stance.concedes(sentence, "states"),
    **dict.fromkeys(denials._BY_WORD.values(), stance._denies),
}
"""Patterns that are searched only where a sentence has certain words, and what follows a match."""


@given(st.data())
def test_what_a_pattern_matches_is_found_although_few_sentences_are_searched(data: st.DataObject):
    pattern = data.draw(st.sampled_from(list(SEARCHED)))
    text = data.draw(st.from_regex(pattern)).lower()
    words = {word.strip('.!?"”)*') for word in text.replace("’", "'").split()}
    has_its_word = pattern not in denials._BY_WORD.values() or any(
        denials._BY_WORD[word] is pattern for word in denials._BY_WORD.keys() & words
    )
    assume(pattern.search(text) and has_its_word)
    assert SEARCHED[pattern](Sentence.of(text))


@given(st.text(alphabet="ab1_ .'’é-\n", max_size=40))
def test_a_sentence_has_the_same_words_by_either_way(text: str):
    assert Sentence.of(text).words == Sentence.of(f"{text} é").words[:-1]
