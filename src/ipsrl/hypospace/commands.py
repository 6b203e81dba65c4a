"""The commands `ipsrl train hypospace` and `ipsrl hypospace dataset | judge | evaluate`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from ipsrl.command import training
from ipsrl.config import StrictConfig
from ipsrl.errors import ConfigError
from ipsrl.hypospace.datasets import ObservationSet
from ipsrl.hypospace.task import AnyTask
from ipsrl.options import parse, say
from ipsrl.threads import one_thread


def train(argv: list[str]) -> int:
    from ipsrl.hypospace.config import Config

    asked = training(argv, "ipsrl train hypospace", Config)
    if asked.config.model == "tiny":
        one_thread()

    from ipsrl.hypospace.training import train

    with asked.running():
        result = train(asked.config, asked.out, resume=asked.resume)
    import torch

    halves = (("train", result.train), ("test", result.test))
    text = "".join(f"{half}: {found.text()}\n\n" for half, found in halves)
    asked.say(f"{text}threads of PyTorch: {torch.get_num_threads()}", result)
    return 0


def dataset(argv: list[str]) -> int:
    domain, size = _domain(argv)

    @dataclass(frozen=True)
    class Options:
        """Observation sets with their prompts and all admissible answers, as JSON lines."""

        domain: tyro.conf.Positional[Literal["causal", "voxel", "boolean"]]
        """Domain; its options follow it."""
        out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
        """File to write."""
        options: Annotated[size, tyro.conf.arg(name="")]  # type: ignore[valid-type]
        n: int = 100
        """Number of observation sets; all if there are fewer."""
        seed: int = 0
        """Seed of the choice of sets and of the split."""
        draw: Literal["sets", "hypotheses"] = "sets"
        """Draw uniformly over sets, or over hypotheses, which makes H_O larger."""
        apart: Literal["sets", "hypotheses"] = "sets"
        """What train and test halves do not share; halves with different sets share hypotheses."""
        json: bool = False
        """Print an object instead of text."""

    options: Any = parse(Options, argv, "ipsrl hypospace dataset")
    from ipsrl.hypospace.datasets import dataset
    from ipsrl.hypospace.lines import write_dataset
    from ipsrl.runs import check_free

    check_free(options.out)
    sets = dataset(
        _task(domain, options), count=options.n, seed=options.seed, draw=options.draw,
        apart=options.apart,
    )  # fmt: skip
    write_dataset(sets, options.out)
    train = sum(one.split == "train" for one in sets)
    test = len(sets) - train
    say(
        f"{len(sets)} {domain.name} sets, {train} to train and {test} to test\n"
        f"written to {options.out}",
        {"out": str(options.out), "sets": len(sets), "train": train, "test": test},
        options.json,
    )
    return 0


def judge(argv: list[str]) -> int:
    domain, size = _domain(argv)

    @dataclass(frozen=True)
    class Options:
        """Judge responses: a line {"observations": [...], "response": "..."} on standard input is
        answered by a line {"key": ..., "valid": ..., "reason": ...} on standard output."""

        domain: tyro.conf.Positional[Literal["causal", "voxel", "boolean"]]
        """Domain; its options follow it."""
        options: Annotated[size, tyro.conf.arg(name="")]  # type: ignore[valid-type]

    options: Any = parse(Options, argv, "ipsrl hypospace judge")
    from ipsrl.hypospace.lines import judge_lines

    judge_lines(_task(domain, options), sys.stdin.buffer, sys.stdout)
    return 0


def evaluate(argv: list[str]) -> int:
    domain, size = _domain(argv)

    @dataclass(frozen=True)
    class Options:
        """How many of the admissible answers do the responses of a model recover?

        With --model, the model is asked first, and its responses are written to the file.
        """

        domain: tyro.conf.Positional[Literal["causal", "voxel", "boolean"]]
        """Domain; its options follow it."""
        responses: tyro.conf.Positional[Path]
        """JSON lines {"id": ..., "response": ..., "seed": 0}; N for each set and seed."""
        data: Path
        """File that `ipsrl hypospace dataset` wrote."""
        options: Annotated[size, tyro.conf.arg(name="")]  # type: ignore[valid-type]
        split: Literal["train", "test", "all"] = "all"
        """Observation sets to ask or to evaluate; responses to the others are left out."""
        protocol: Literal["parallel", "sequential", "benchmark"] = "parallel"
        """Samples of one prompt; prompts that show the answers so far; or as HypoSpace's own code:
        so too, N times |H_O| of them, and unreadable ones asked for up to five times."""
        model: str | None = None
        """Folder or hub name; with --endpoint, the server's name of the model."""
        endpoint: str | None = None
        """OpenAI-compatible server, such as http://localhost:8000/v1; key in OPENAI_API_KEY."""
        n: int | None = None
        """Responses to ask for, per set, 64 if not given; with --protocol benchmark for each
        admissible answer, 1 if not given."""
        temperature: float = 1.0
        """Temperature of sampling."""
        max_tokens: int = 256
        """Largest number of tokens of a response."""
        seed: int = 0
        """Seed of sampling."""
        resume: bool = False
        """Continue a file of responses that is not complete."""
        json: bool = False
        """Print an object instead of text."""

    options: Any = parse(Options, argv, "ipsrl hypospace evaluate")
    from ipsrl.hypospace.lines import read_lines
    from ipsrl.hypospace.recovery import Response, evaluate

    task = _task(domain, options)
    sets = read_lines(options.data, ObservationSet)
    if options.model is not None:
        _ask(task, options, sets)
    elif options.endpoint is not None or options.resume:
        raise ConfigError("name the --model that is to be asked.")
    result = evaluate(
        task, sets, read_lines(options.responses, Response), split=options.split,
        protocol=options.protocol,
    )  # fmt: skip
    print(result.json() if options.json else result.text())
    return 0


def _ask(task: AnyTask, options: Any, sets: Sequence[ObservationSet]) -> None:
    """Write the responses of the model to the file."""
    from ipsrl.hypospace.endpoint import AT_ONCE, endpoint
    from ipsrl.hypospace.recovery import check_sets, chosen
    from ipsrl.hypospace.responses import Sampling, collect, collected, local_model, respond
    from ipsrl.llm.packaged import folder_of

    n = options.n
    if n is None:
        n = 1 if options.protocol == "benchmark" else 64
    if n < 1:
        raise ConfigError(f"n is {n}. Ask for one response at least.")
    path = options.responses
    if path.exists() and not options.resume:
        raise ConfigError(
            f"{path} exists. Leave out --model to evaluate what it holds, continue it with "
            "--resume, or name another file."
        )
    asked = list(chosen(sets, options.split).values())
    check_sets(task, asked)  # before anything is paid for
    sampling = Sampling(options.temperature, options.max_tokens, options.seed)
    complete = (
        local_model(folder_of(options.model), sampling)
        if options.endpoint is None
        else endpoint(options.endpoint, options.model, sampling)
    )
    drawn = respond(
        task, complete, asked, n, protocol=options.protocol, seed=options.seed,
        batch=256 if options.endpoint is None else AT_ONCE, earlier=collected(path),
    )  # fmt: skip
    try:
        collect(path, drawn)
    except KeyboardInterrupt:
        kept = f"{path} keeps what was answered: continue with --resume" if path.exists() else ""
        raise KeyboardInterrupt(f"stopped; {kept or 'nothing was answered'}") from None


def _domain(argv: list[str]) -> tuple[Any, type[StrictConfig]]:
    """Domain and configuration that the command names; the other options depend on them."""
    from ipsrl.hypospace.domains import DOMAINS

    # Without one, for --help or a name that tyro refuses, the first will do.
    return DOMAINS[next((word for word in argv if word in DOMAINS), "causal")]


def _task(domain: Any, options: Any) -> AnyTask:
    if domain.name != options.domain:  # a file is called like a domain
        raise ConfigError(f"name the domain first: {options.domain}, and then its options.")
    return domain(options.options)
