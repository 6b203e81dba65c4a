"""What the domains share: verdicts, and prompts that show earlier answers."""

from ipsrl.hypospace import (
    Boolean,
    Causal,
    Verdict,
    dataset,
    judge,
    sequential_prompt,
)
from ipsrl.hypospace.task import LONGEST_RESPONSE

OBSERVED = ["Perturb(A) -> A:0 B:1 C:1", "Perturb(B) -> A:0 B:0 C:0"]


def test_a_sequential_prompt_shows_the_answers_so_far():
    """As answers: nothing for what could not be read, an answer once, the empty graph too."""
    task = Causal()
    assert sequential_prompt(task, "ask", []) == "ask"
    assert sequential_prompt(task, "ask", [None]) == "ask"
    prompt = sequential_prompt(task, "ask", ["A->B", None, "", "A->B", "A->B,B->C"])
    assert prompt.startswith("ask\n\n")
    assert prompt.endswith("\n\nGraph: A->B\n\nGraph: No edges\n\nGraph: A->B, B->C")


def test_a_sequential_prompt_leaves_out_what_is_too_deep_to_be_written():
    """A key may nest deeper than the text that it was read from."""
    task = Boolean()
    observations = dataset(task)[0].observations
    text = "Expression: " + "NOT " * 60 + "x"
    deep = judge(task, observations, text).key
    assert deep is not None
    assert sequential_prompt(task, "ask", [deep]) == "ask"
    assert sequential_prompt(task, "ask", [deep, "x"]).endswith("\n\nExpression: x")


def test_verdicts_and_reasons():
    judgement = judge(Causal(), OBSERVED, "x" * (LONGEST_RESPONSE + 1))
    assert judgement.verdict is Verdict.TOO_LONG
    assert judgement.reason == "too long: more than 65536 characters"
