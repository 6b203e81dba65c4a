"""What a reward function gets, `outcome_fn` gets: of rollouts, tools, environments and images."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any

import llm_toy as toy
import pytest
import torch
import trl
from datasets import Dataset
from llm_laws import assert_closed_form, grpo, last_table, rloo
from packaging.version import Version
from PIL import Image
from transformers import (
    CLIPVisionConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from ipsrl.errors import ConfigError, InvalidInput
from ipsrl.llm import IPSGRPOTrainer, IPSRLOOTrainer, PromptHistory

TRL = Version(trl.__version__)
calls_tools = pytest.mark.skipif(
    Version("1.16") > TRL,
    reason=f"TRL {TRL} reads tool calls with jmespath, which is not installed",
)
pytestmark = pytest.mark.filterwarnings(
    "ignore:You are using '(rollout_func|environment_factory)', which is an experimental feature"
)
G = 4
TABLE = {"num_generations": G, "per_device_train_batch_size": 2 * G, "log_completions": True}

Given = list[dict[str, Any]]


def hearing(function: Callable[..., Any], given: Given) -> Callable[..., Any]:
    """The same function; what it is given is kept."""

    def heard(**columns: Any) -> Any:
        given.append(columns)
        return function(**columns)

    return heard


def now(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


def later(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function as a coroutine."""

    async def awaited(**columns: Any) -> Any:
        return function(**columns)

    return awaited


def assert_the_same_is_given(to_reward: Given, to_outcome: Given, *names: str) -> None:
    """Every argument, and among them these."""
    assert to_reward
    assert to_reward == to_outcome
    always = {"prompts", "completions", "completion_ids", "trainer_state", "log_extra"}
    assert always | set(names) <= set(to_outcome[0])


# --- rollouts of the user ------------------------------------------------------------------------


def rollout(prompts: list[str], trainer: Any) -> dict[str, Any]:
    """One move each: the last token is not the model's."""
    words = trainer.processing_class
    completions = [words(f"a{i % 3} please")["input_ids"] for i in range(len(prompts))]
    return {
        "prompt_ids": words(prompts)["input_ids"],
        "completion_ids": completions,
        "logprobs": [[0.0, 0.0]] * len(prompts),
        "env_mask": [[1, 0]] * len(prompts),
        "place": [0, 0, 1, 0, 2, 2, 3, 3],
        "map": "an island",
    }


def test_fields_of_a_rollout_are_columns(tmp_path) -> None:
    to_reward: Given = []
    to_outcome: Given = []
    toy.train(
        tmp_path, IPSGRPOTrainer, max_steps=2, max_completion_length=2, **TABLE,
        rewards=hearing(lambda place, **_: [1.0 + (at == 3) for at in place], to_reward),
        trainer_options={
            "outcome_fn": hearing(lambda place, **_: place, to_outcome), "rollout_func": rollout,
        },
    )  # fmt: skip
    assert_the_same_is_given(to_reward, to_outcome, "place", "map", "row")
    assert to_outcome[0]["map"] == ["an island"] * 2 * G
    rows = toy.table(tmp_path)
    assert list(rows["outcome"]) == ["0", "0", "1", "0", "2", "2", "3", "3"] * 2
    # p^: three of four and one of four; two of four and two of four
    weights = [4 / 3, 4 / 3, 4.0, 4 / 3, 2.0, 2.0, 2.0, 2.0]
    assert list(rows["ips_weight"]) == pytest.approx(weights * 2)
    assert_closed_form(rows, group=G)


# --- tools ---------------------------------------------------------------------------------------

CHAT = """\
{% for message in messages %}\
{{ message.role }} {{ message.content }} \
{% for call in message.tool_calls or [] %}[CALL] {{ call.function | tojson }} [/CALL] {% endfor %}\
{% endfor %}\
{% if add_generation_prompt %}assistant {% endif %}"""
ANSWER = {  # how a completion is read
    "start_anchor": "assistant",
    "defaults": {"role": "assistant"},
    "fields": {
        "tool_calls": {
            "open": "[CALL]",
            "close": "[/CALL]",
            "repeats": True,
            "content": "json",
            "transform": {"type": "function", "function": "{content}"},
        },
        "content": {"close": "[EOS]", "content": "text"},
    },
}


def call(name: str, **arguments: Any) -> str:
    """A whole turn, of one word for the call."""
    called = json.dumps({"name": name, "arguments": arguments}, separators=(",", ":"))
    return f"[CALL] {called} [/CALL] [EOS]"


def talker(*turns: Sequence[str]) -> dict[str, Any]:
    """A model that calls tools, and its words."""
    words = toy.tokenizer()
    words.add_tokens(["user", "assistant", "tool"])
    words.add_tokens([word for turn in turns for text in turn for word in text.split()])
    words.chat_template, words.response_template = CHAT, ANSWER
    net = says(toy.model(words), words, *turns)
    return {"net": net, "words": words, "max_completion_length": 16}


def says(net: Any, words: PreTrainedTokenizerFast, *turns: Sequence[str]) -> Any:
    """The model, that says the same in every batch, turn by turn."""
    drawn = [words(list(turn), padding=True, return_tensors="pt")["input_ids"] for turn in turns]
    said = itertools.cycle(drawn)
    net.generate = lambda input_ids, **_: torch.cat([input_ids, next(said)], dim=1)
    return net


def conversations(*rows: dict[str, Any]) -> Dataset:
    return Dataset.from_list([{**row, "prompt": [user("name one")]} for row in rows])


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def tool(name: str, result: str) -> dict[str, str]:
    return {"role": "tool", "name": name, "content": result}


def assistant(text: str, **called: dict[str, Any]) -> dict[str, Any]:
    """What a completion is read as; `called` are names of tools with their arguments."""
    calls = [
        {"type": "function", "function": {"name": name, "arguments": arguments}}
        for name, arguments in called.items()
    ]
    return {"role": "assistant", "content": text, **({"tool_calls": calls} if calls else {})}


def look_up(word: str) -> str:
    """Look a word up.

    Args:
        word: what to look up.
    """
    return {"a0": "red", "a1": "blue", "a2": "red"}[word]


def tool_result(completions: list[list[dict[str, Any]]], **columns: Any) -> list[str | None]:
    """What the tool has said last."""
    said = [[m["content"] for m in messages if m["role"] == "tool"] for messages in completions]
    return [results[-1] if results else None for results in said]


def called(completions: list[list[dict[str, Any]]], **columns: Any) -> list[float]:
    """Reward of a call."""
    return [1.0 if "tool_calls" in messages[0] else 0.5 for messages in completions]


@calls_tools
@pytest.mark.parametrize("kind", [now, later])
def test_messages_have_tool_calls_and_results(tmp_path, kind) -> None:
    """Two groups: red, blue, red and a word without a call; blue three times and red."""
    red, blue, pink = (call("look_up", word=f"a{i}") for i in range(3))
    texts = [red, blue, pink, "a3 [EOS]", blue, blue, blue, red]
    to_reward: Given = []
    to_outcome: Given = []
    toy.train(
        tmp_path, IPSGRPOTrainer, max_steps=1, **TABLE, data=conversations(*[{"row": 0}] * 8),
        **talker(texts, ["more [EOS]"] * 7),
        rewards=hearing(called, to_reward),
        trainer_options={
            "outcome_fn": kind(hearing(tool_result, to_outcome)), "tools": [look_up],
        },
    )  # fmt: skip
    assert_the_same_is_given(to_reward, to_outcome, "row")
    (given,) = to_outcome
    first = assistant("", look_up={"word": "a0"})
    assert given["completions"][0] == [first, tool("look_up", "red"), assistant("more")]
    assert given["completions"][3] == [assistant("a3")]
    assert given["prompts"] == [[user("name one")]] * 2 * G
    rows = toy.table(tmp_path)
    assert list(rows["outcome"]) == ["red", "blue", "red", None, "blue", "blue", "blue", "red"]
    # p^: two of four, one of four; three of four, one of four
    weights = [2.0, 4.0, 2.0, 1.0, 4 / 3, 4 / 3, 4 / 3, 4.0]
    assert list(rows["ips_weight"]) == pytest.approx(weights)
    assert_closed_form(rows, group=G)


# --- environments --------------------------------------------------------------------------------


class Walk:
    """A place on a line."""

    def reset(self, **row: Any) -> str:
        self.place = 0
        return " please"

    def move(self, by: int) -> str:
        """Move on.

        Args:
            by: number of steps.
        """
        self.place += by
        return str(self.place)


class Judged(Walk):
    """That gives the reward itself."""

    def get_reward(self) -> float:
        return float(self.place > 0)


def place(environments: list[Walk], **columns: Any) -> list[int]:
    return [environment.place for environment in environments]


def walkers() -> dict[str, Any]:
    """In each group one that moves by two, two that move by one, and one that stays."""
    one, two = (call("move", by=by) for by in (1, 2))
    return talker([one, two, one, "a3 [EOS]"] * 2, ["more [EOS]"] * 6)


@calls_tools
def test_environments(tmp_path) -> None:
    """The state of each is its outcome, also after the next reset."""
    to_reward: Given = []
    to_outcome: Given = []
    toy.train(
        tmp_path, IPSGRPOTrainer, max_steps=2, **TABLE, data=conversations(*[{"row": 0}] * 8),
        **walkers(), rewards=hearing(lambda **given: [1.0 + n for n in place(**given)], to_reward),
        trainer_options={
            "outcome_fn": hearing(place, to_outcome), "environment_factory": Walk,
        },
    )  # fmt: skip
    assert_the_same_is_given(to_reward, to_outcome, "environments", "row")
    given = to_outcome[-1]
    assert given["prompts"] == [[user("name one please")]] * 2 * G  # what reset has said
    first = [assistant("", move={"by": 1}), tool("move", "1"), assistant("more")]
    assert given["completions"][0] == first
    rows = toy.table(tmp_path)
    assert list(rows["outcome"]) == ["1", "2", "1", "0"] * 4
    assert list(rows["ips_weight"]) == [2.0, 4.0, 2.0, 4.0] * 4
    assert_closed_form(rows, group=G)


@calls_tools
def test_environments_that_give_the_reward(tmp_path) -> None:
    """There are two kinds. One gives rewards, and there is no reward function."""
    to_outcome: Given = []
    toy.train(
        tmp_path, IPSGRPOTrainer, max_steps=1, **TABLE, shuffle_dataset=False, **walkers(),
        data=conversations({"environment": "walk"}, {"environment": "judged"}), rewards=None,
        trainer_options={
            "outcome_fn": hearing(place, to_outcome), "success": ["Judged"],
            "environment_factory": {"walk": Walk, "judged": Judged},
        },
    )  # fmt: skip
    assert [type(each) for each in to_outcome[0]["environments"]] == [Walk] * G + [Judged] * G
    assert to_outcome[0]["environment"] == ["walk"] * G + ["judged"] * G
    rows = toy.table(tmp_path)
    assert list(rows["outcome"]) == ["1", "2", "1", "0"] * 2
    assert list(rows["raw_reward"]) == [0.0] * G + [1.0, 1.0, 1.0, 0.0]
    # Who stays has no reward, so nothing of it is scaled.
    assert list(rows["ips_weight"]) == [1.0] * G + [2.0, 4.0, 2.0, 1.0]
    assert list(rows["advantage"][:G]) == [0.0] * G
    assert_closed_form(rows, group=G)


# --- log-probabilities of what the model has not written ------------------------------------------


@pytest.mark.parametrize("estimator", ["likelihood", "replay"])
@pytest.mark.parametrize(
    "host",
    [
        {"rollout_func": rollout},
        pytest.param({"tools": [look_up]}, marks=calls_tools),
        pytest.param({"environment_factory": Walk}, marks=calls_tools),
    ],
    ids=lambda host: next(iter(host)),
)
def test_a_text_that_others_have_written_has_no_likelihood(tmp_path, host, estimator) -> None:
    words = talker()["words"]
    with pytest.raises(ConfigError, match="tools, environments or rollout_func.*log_probs=False"):
        toy.small(tmp_path, words=words, trainer_options={"estimator": estimator, **host})
    counts = PromptHistory(log_probs=False)
    toy.small(tmp_path, words=words, trainer_options={"estimator": counts, **host})


# --- images --------------------------------------------------------------------------------------


def seeing() -> dict[str, Any]:
    """A model of images of 8 by 8, which it sees as four words, and its words."""
    words = toy.tokenizer()
    words.add_tokens("<image>", special_tokens=True)
    torch.manual_seed(0)
    net = LlavaForConditionalGeneration(LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
            image_size=8, patch_size=4,
        ),
        text_config=toy.model(words).config,
        image_token_index=words.convert_tokens_to_ids("<image>"), image_seq_length=4,
    ))  # fmt: skip
    processor = LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": 8}, crop_size={"height": 8, "width": 8}),
        words,
        patch_size=4,
        num_additional_image_tokens=1,
        vision_feature_select_strategy="default",
        chat_template="{% for message in messages %}{% for part in message.content %}"
        "{{ part.text if part.type == 'text' else '<image>' }} {% endfor %}{% endfor %}",
    )
    return {"net": says(net, words, ["a0", "a0", "a1", "a2"] * 2), "words": processor}


def pictures() -> Dataset:
    """The same question of a red and of a blue image."""
    return conversations(*[
        {"image": Image.new("RGB", (8, 8), colour), "colour": colour} for colour in ("red", "blue")
    ])  # fmt: skip


def seen(image: list[Image.Image], completions: list[Any], **columns: Any) -> list[Any]:
    """The answer about a red or another image."""
    red = ["red" if picture.getpixel((0, 0)) == (255, 0, 0) else "other" for picture in image]
    return [(r, messages[0]["content"]) for r, messages in zip(red, completions, strict=True)]


@pytest.mark.parametrize(("trainer", "advantage"), [(IPSGRPOTrainer, grpo), (IPSRLOOTrainer, rloo)])
def test_images(tmp_path, trainer, advantage) -> None:
    to_reward: Given = []
    to_outcome: Given = []
    trained = toy.train(
        tmp_path, trainer, max_steps=1, **TABLE, **seeing(), data=pictures(), shuffle_dataset=False,
        rewards=hearing(lambda image, **_: [1.0, 0.5] * G, to_reward),
        trainer_options={"outcome_fn": hearing(seen, to_outcome)},
    )  # fmt: skip
    assert_the_same_is_given(to_reward, to_outcome, "image", "colour")
    (given,) = to_outcome
    shown = {"type": "image", "image": given["image"][0]}
    asked = {"type": "text", "text": "name one"}
    assert given["prompts"][0] == [{"role": "user", "content": [shown, asked]}]
    rows = last_table(trained)
    answers = ["a0", "a0", "a1", "a2"]
    assert list(rows["outcome"]) == [str((c, a)) for c in ("red", "other") for a in answers]
    assert list(rows["ips_weight"]) == [2.0, 2.0, 4.0, 4.0] * 2
    assert_closed_form(rows, advantage, group=G)


@pytest.mark.parametrize("trainer", [IPSGRPOTrainer, IPSRLOOTrainer])
def test_a_text_about_an_image_has_no_likelihood(tmp_path, trainer) -> None:
    def train(estimator: Any) -> Any:
        return toy.train(
            tmp_path, trainer, max_steps=1, **TABLE, **seeing(), data=pictures(),
            rewards=lambda completions, **_: [1.0] * len(completions),
            trainer_options={"outcome_fn": seen, "estimator": estimator},
        )  # fmt: skip

    for estimator in ("likelihood", PromptHistory(columns=("colour",))):
        with pytest.raises(InvalidInput, match=r"have images.*'group', or.*log_probs=False"):
            train(estimator)
    for estimator in ("replay", PromptHistory(log_probs=False)):
        with pytest.raises(InvalidInput, match=r"not plain text.*columns=\('image_id',\)"):
            train(estimator)
    trained = train(PromptHistory(log_probs=False, columns=("colour",)))
    assert len(trained.estimator._visits) == 2  # the texts of both prompts are the same
