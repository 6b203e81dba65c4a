"""Questions with many right answers, checked against lists."""

import pytest

from ipsrl.reproduce.questions import QUESTIONS, answer, right

KEYS = {
    "capitals": {
        "Paris": "Paris",
        "paris.": "Paris",
        "The capital city is London": "London",
        "Rome, Paris": "Rome",
        "Kiev": "Kyiv",
        "Romeo": None,
        "Barcelona": None,
        "": None,
        "San Marino": "San Marino",
        "ANDORRA LA VELLA": "Andorra la Vella",
        "PAR\u0130S or LI\u017fBON": None,
        "Rom\u00e9o": None,
    },
    "states": {
        "West Virginia": "West Virginia",
        "Virginia": "Virginia",
        "Arkansas": "Arkansas",
        "New York City": "New York",
        "North Carolina": "North Carolina",
        "Carolina": None,
        "Dallas": None,
    },
    "elements": {
        "aluminum": "Aluminium",
        "Caesium": "Caesium",
        "Hydrocarbon": None,
        "Ironic": None,
        "Tin": "Tin",
        "Titanium": "Titanium",
        "Ammonia": None,
    },
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_first_right_answer_is_the_key(name) -> None:
    texts = list(KEYS[name])
    columns = {"question": [name] * len(texts)}
    assert answer(texts, **columns) == list(KEYS[name].values())
    messages = [[{"role": "assistant", "content": text}] for text in texts]
    assert answer(messages, **columns) == list(KEYS[name].values())
    assert right(texts, **columns) == [float(key is not None) for key in KEYS[name].values()]


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_list_names_everything_once_and_none_of_its_own_examples(name) -> None:
    question = QUESTIONS[name]
    spelt = [spelling for entry in question.listed for spelling in entry.split("/")]
    assert len({spelling.lower() for spelling in spelt}) == len(spelt)
    assert 20 <= len(question.listed) <= 200
    for entry in question.listed:
        assert {question.key(spelling) for spelling in entry.split("/")} == {entry.split("/")[0]}
    assert [question.key(reply) for _, reply in question.shots] == [None] * len(question.shots)


def test_a_conversation_ends_with_the_question() -> None:
    messages = QUESTIONS["capitals"].messages
    assert [message["role"] for message in messages] == [
        "system",
        *["user", "assistant"] * 2,
        "user",
    ]
    assert messages[-1]["content"] == "Name a capital city in Europe."
