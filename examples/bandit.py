"""GRPO with and without inverse probability scaling, on four answers, in NumPy.

Two answers are equally good, one is half as good, one is wrong.  Prints where both policies end.
"""

import numpy as np

import ipsrl

REWARDS = np.array([1.0, 1.0, 0.5, 0.0])


def train(*, scaled: bool, seed: int = 0, iterations: int = 3000, group_size: int = 64):
    rng = np.random.default_rng(seed)
    logits = np.zeros(len(REWARDS))
    for _ in range(iterations):
        p = np.exp(logits) / np.exp(logits).sum()
        answers = rng.choice(len(REWARDS), size=group_size, p=p)
        rewards = REWARDS[answers]
        if scaled:
            rewards = ipsrl.ips_rewards(rewards, answers)  # an integer answer is its own outcome id
        advantages, _ = ipsrl.group_advantage(rewards)
        # Gradient of mean(A log pi): what was drawn, minus what was expected.
        drawn = np.bincount(answers, advantages, minlength=len(REWARDS)) / group_size
        logits += 0.1 * (drawn - p * advantages.mean())
    return np.exp(logits) / np.exp(logits).sum()


if __name__ == "__main__":
    target = REWARDS / REWARDS.sum()
    print("target  ", target.round(3))
    for name, scaled in (("GRPO", False), ("IPS-GRPO", True)):
        p = train(scaled=scaled)
        print(f"{name:8}", p.round(3), f"total L1 {ipsrl.total_l1(p, target):.3f}")
