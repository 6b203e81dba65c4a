"""The command `ipsrl advise`."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from ipsrl.errors import InvalidInput
from ipsrl.options import parse, say
from ipsrl.theory import advice as theory
from ipsrl.theory.groups import LARGEST_GROUP

GROUP_SIZE = 8


def advise(argv: list[str]) -> int:
    @dataclass(frozen=True)
    class Options:
        """Predict what IPS-GRPO with group frequency will do to the outcomes of one prompt.

        Name the rewards of all outcomes, or how many there are and how far their rewards differ, or
        a log of completions, whose typical prompt is taken.
        """

        rewards: str | None = None
        """Rewards of all outcomes, such as 1,1,0.1; 1x20,0.1x500 where many are equal."""
        outcomes: int | None = None
        """Number of outcomes; their rewards are spread evenly in log between 1 and 1/ratio."""
        reward_ratio: float = 1.0
        """Largest reward over smallest, with --outcomes."""
        from_: Annotated[tuple[Path, ...], tyro.conf.arg(name="from")] = ()
        """Parquet or JSON lines of prompt, completion, reward; or the output directory of a run."""
        outcome: str | None = None
        """With --from: what completions mean, as in `ipsrl diagnose`; its column `outcome` if not
        given."""
        reward: str | None = None
        """With --from: column of the rewards, as in `ipsrl diagnose`."""
        group_size: int | None = None
        """Samples per prompt, G (TRL: num_generations); that of the log, or else 8."""
        eps: float = 0.0
        """Clip of the share."""
        target_l1: float = 0.1
        """Total L1 to the reward-proportional distribution that is good enough."""
        success_above: float | None = None
        """Outcomes with a reward above this are right, and only they are scaled.  For wrong answers
        that earn something, such as a format reward: as published IPS keeps them in proportion,
        and their rewards alone do not distinguish them from right ones."""
        answer_tokens: float | None = None
        """Usual length of a completion in tokens, on which the best estimator depends; a quarter of
        the characters of the log's."""
        visits: float | None = None
        """How often training sees a prompt; as often as the log, or else several times."""
        json: bool = False
        """Print an object instead of text."""

    options = parse(Options, argv, "ipsrl advise")
    log = None
    if options.from_:
        if (options.rewards, options.outcomes, options.reward_ratio) != (None, None, 1.0):
            raise InvalidInput(
                "--from has rewards of its own. Leave out --rewards, --outcomes and --reward-ratio."
            )
        from ipsrl.llm.completions import read_outcomes
        from ipsrl.theory.logged import typical

        rows, keys = read_outcomes(options.from_, outcome=options.outcome, reward=options.reward)
        size, above = options.group_size, options.success_above
        log = typical(rows, keys, group_size=size, success_above=above)
        rewards = np.array(log.rewards)
    elif options.outcome or options.reward:
        raise InvalidInput("--outcome and --reward read a log: write --from FILE as well.")
    else:
        rewards = theory.parse_rewards(options.rewards, options.outcomes, options.reward_ratio)
    told = {
        "group_size": GROUP_SIZE if log is None else log.group_size,
        "answer_tokens": None if log is None else log.answer_tokens,
        "visits": None if log is None else log.visits,
    }
    told |= {name: v for name in told if (v := getattr(options, name)) is not None}
    advice = theory.advise(
        rewards,
        eps=options.eps,
        target_l1=options.target_l1,
        success_above=options.success_above,
        success=None if log is None else log.success,
        **told,
    )
    lines = []
    if log is not None:
        levels = len({reward for reward in log.rewards if reward > 0})
        unsure = options.success_above is None and levels > 1
        lines.append(
            f"{log.prompts} prompts with a right answer, groups of {log.group_size}, "
            f"{log.visits:.3g} per prompt; the typical prompt shows {log.seen} right answers and "
            f"has at least {log.right} (Chao's estimate)"
            + "; if wrong answers earn something, say from where on one is right: --success-above"
            * unsure
        )
    lines.append("outcome   reward   target   predicted")
    lines += _rows(rewards, advice)
    needed, larger = advice.needed_group_size, ""
    if needed is None or needed > told["group_size"]:
        larger = (
            f"; group size that keeps all, at a total L1 of at most {options.target_l1:g}: "
            f"{needed or f'none up to {LARGEST_GROUP}'}"
        )
    lines.append(f"total L1 of the fixed point {advice.floor_l1:.4f}{larger}")
    lines.append(advice.recommendation)
    found = {}
    if options.json:  # of a million outcomes this takes seconds
        found = asdict(advice) | ({} if log is None else {"log": asdict(log)})
    say("\n".join(lines), found, options.json)
    return 0


def _rows(rewards: np.ndarray, advice: theory.Advice) -> list[str]:
    """One for each outcome, or for several in a row that are equal; the first and last ten."""
    dies = np.isin(np.arange(len(rewards)), advice.extinct)
    table = np.column_stack([rewards, advice.target, advice.distribution, dies])
    firsts = [0, *(np.flatnonzero((table[1:] != table[:-1]).any(axis=1)) + 1)]
    spans = list(zip(firsts, [*firsts[1:], len(rewards)], strict=True))
    shown = spans if len(spans) <= 20 else spans[:10] + spans[-10:]
    rows = []
    for first, end in shown:
        name = str(first) if end == first + 1 else f"{first}-{end - 1}"
        reward, target, predicted, extinct = table[first]
        row = f"{name:>7} {reward:8.4g} {target:8.4g} {predicted:11.4g}"
        rows.append(f"{row}  dies out" if extinct else row)
    return rows if shown is spans else [*rows[:10], "    ...", *rows[10:]]
