"""IPS-GRPO in a TRL script.  From plain GRPO two lines differ; the model is tiny, and made here.

python examples/llm/trl_script.py
"""

import tempfile
from pathlib import Path

from datasets import Dataset
from even_digits import outcome, reward
from trl import GRPOConfig

from ipsrl.llm import IPSGRPOTrainer, tiny


def main(steps: int = 200) -> None:
    """Name even digits, and print how many of the five are alive."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        tiny.build(model, ["An even digit: "])
        trainer = IPSGRPOTrainer(
            model=str(model),
            reward_funcs=reward,
            outcome_fn=outcome,
            train_dataset=Dataset.from_list([{"prompt": "An even digit: "}]),
            args=GRPOConfig(
                output_dir=folder,
                num_generations=64,
                per_device_train_batch_size=64,
                max_completion_length=1,
                learning_rate=3e-3,
                max_steps=steps,
                report_to="none",
                bf16=False,
                disable_tqdm=True,
                logging_steps=50,
            ),
        )
        trainer.train()
        log = [row for row in trainer.state.log_history if "reward" in row][-1]
        print(f"reward {log['reward']:.2f}, effective {log['outcomes/effective']:.2f} of 5")


if __name__ == "__main__":
    main()
