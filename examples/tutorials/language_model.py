"""Keep every right answer of a language model: one line changes in a TRL script.

The model is tiny and made here, so this takes half a minute on a CPU.
"""

import logging
import tempfile
import warnings
from pathlib import Path

# Before TRL is imported: neither says anything about this script.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # wants a package that is not needed
warnings.simplefilter("ignore", FutureWarning)  # TRL asks transformers for what it has renamed

import torch
from datasets import Dataset
from transformers import PrinterCallback
from trl import GRPOConfig, GRPOTrainer

from ipsrl.llm import IPSGRPOTrainer, tiny

PROMPT = "An even digit: "
RIGHT = "02468"


def reward(completions, **columns):
    """1 for an even digit, else 0."""
    return [float(text.strip() in set(RIGHT)) for text in completions]


def outcome(completions, **columns):
    """What a completion means: its digit, or None where there is none."""
    digits = [text.strip() for text in completions]
    return [digit if len(digit) == 1 and digit.isdecimal() else None for digit in digits]


def trained(trainer_class, folder, **options):
    """The trainer after 200 steps of one group of 64 completions."""
    trainer = trainer_class(
        model=str(folder / "model"),
        reward_funcs=reward,
        train_dataset=Dataset.from_list([{"prompt": PROMPT}]),
        args=GRPOConfig(
            output_dir=str(folder / trainer_class.__name__),
            num_generations=64,
            per_device_train_batch_size=64,
            max_completion_length=1,
            learning_rate=3e-3,
            max_steps=200,
            use_cpu=True,
            bf16=False,
            report_to="none",
            disable_tqdm=True,
            logging_strategy="no",
            save_strategy="no",
        ),
        **options,
    )
    trainer.remove_callback(PrinterCallback)  # of times, which differ from run to run
    trainer.train()
    return trainer


def answers(trainer):
    """What the model answers, by its probability after the prompt."""
    tokenizer, model = trainer.processing_class, trainer.model
    prompt = tokenizer(PROMPT, return_tensors="pt").input_ids
    p = model(prompt).logits[0, -1].detach().softmax(-1)
    return {digit: float(p[tokenizer.convert_tokens_to_ids(digit)]) for digit in RIGHT}


def main():
    torch.set_num_threads(1)  # two threads wait for each other after every step of a tiny model
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tiny.build(folder / "model", [PROMPT])
        grpo = trained(GRPOTrainer, folder)
        ips = trained(IPSGRPOTrainer, folder, outcome_fn=outcome)  # the line that changes
        print("probability of each right answer after 200 steps")
        print("          " + "".join(f"{digit:>7}" for digit in RIGHT) + "   right")
        for name, trainer in (("GRPO", grpo), ("IPS-GRPO", ips)):
            p = answers(trainer)
            print(
                f"{name:10}" + "".join(f"{x:7.3f}" for x in p.values()), f"{sum(p.values()):7.3f}"
            )


if __name__ == "__main__":
    main()
