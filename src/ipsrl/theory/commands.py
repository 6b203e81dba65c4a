"""The command `ipsrl advise`."""

from dataclasses import asdict, dataclass

from ipsrl.options import parse, say
from ipsrl.theory import groups


def advise(argv: list[str]) -> int:
    @dataclass(frozen=True)
    class Options:
        """Predict what IPS-GRPO with group frequency will do to the outcomes of one prompt.

        Name the rewards of all outcomes, or how many there are and how far their rewards differ.
        """

        rewards: str | None = None
        """Rewards of all outcomes, such as 1,1,0.1."""
        outcomes: int | None = None
        """Number of outcomes; their rewards are spread evenly in log between 1 and 1/ratio."""
        reward_ratio: float = 1.0
        """Largest reward over smallest, with --outcomes."""
        group_size: int = 8
        """Samples per prompt, G (TRL: num_generations)."""
        eps: float = 0.0
        """Clip of the share."""
        target_l1: float = 0.1
        """Total L1 to the reward-proportional distribution that is good enough."""
        success_above: float | None = None
        """Outcomes with a reward above this are right, and only they are scaled.  For wrong answers
        that earn something, such as a format reward: as published IPS keeps them in proportion,
        and their rewards alone do not tell them from right ones."""
        answer_tokens: int | None = None
        """Usual length of a completion in tokens, on which the best estimator depends."""
        json: bool = False
        """Print an object instead of text."""

    options = parse(Options, argv, "ipsrl advise")
    rewards = groups.parse_rewards(options.rewards, options.outcomes, options.reward_ratio)
    advice = groups.advise(
        rewards,
        options.group_size,
        eps=options.eps,
        target_l1=options.target_l1,
        success_above=options.success_above,
        answer_tokens=options.answer_tokens,
    )
    lines = ["outcome   reward   target   predicted"]
    shown = range(len(rewards)) if len(rewards) <= 20 else [*range(10), *range(-10, 0)]
    for i in shown:
        if i == -10:
            lines.append("    ...")
        dies = "  dies out" if i % len(rewards) in advice.extinct else ""
        lines.append(
            f"{i % len(rewards):7} {rewards[i]:8.4g} {advice.target[i]:8.4f} "
            f"{advice.distribution[i]:11.4f}{dies}"
        )
    lines.append(
        f"total L1 of the fixed point {advice.floor_l1:.4f}; group size for at most "
        f"{options.target_l1:g}: {advice.needed_group_size or 'none'}\n{advice.recommendation}"
    )
    say("\n".join(lines), asdict(advice), options.json)
    return 0
