"""A task for `ipsrl train llm`: name an even digit.  Five answers are right; will all be kept?

ipsrl train llm --config examples/llm/even_digits.toml
ipsrl train llm --config examples/llm/even_digits.toml --method grpo
"""


def reward(completions, **columns):
    """1 for an even digit, else 0; called as TRL calls reward functions."""
    return [float(text.strip() in set("02468")) for text in completions]


def outcome(completions, **columns):
    """What an answer means: the digit, or None where there is none."""
    digits = (text.strip() for text in completions)
    return [digit if len(digit) == 1 and digit.isdecimal() else None for digit in digits]
