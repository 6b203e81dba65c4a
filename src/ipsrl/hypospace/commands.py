"""The commands `ipsrl hypospace dataset | judge | evaluate`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from ipsrl.config import StrictConfig
from ipsrl.errors import ConfigError
from ipsrl.hypospace.task import ObservationSet


def dataset(argv: list[str]) -> int:
    domain, size = _domain(argv)

    @dataclass(frozen=True)
    class Options:
        """Observation sets with their prompts and all admissible answers, as JSON lines."""

        domain: tyro.conf.Positional[Literal["causal", "voxel", "boolean"]]
        """Which; its options follow it."""
        out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
        """File to write."""
        options: Annotated[size, tyro.conf.arg(name="")]  # type: ignore[valid-type]
        n: int = 100
        """Observation sets; all there are, if fewer."""
        seed: int = 0
        """Of the draw and the split."""
        draw: Literal["sets", "hypotheses"] = "sets"
        """Uniform over sets, or over hypotheses, which makes H_O larger."""
        split: Literal["sets", "hypotheses"] = "sets"
        """What train and test do not share; split by sets, they share hypotheses."""

    options: Any = tyro.cli(Options, args=argv, prog="ipsrl hypospace dataset")
    from ipsrl.hypospace.task import dataset, write_dataset
    from ipsrl.runs import check_free

    check_free(options.out)
    sets = dataset(
        _task(domain, options), count=options.n, seed=options.seed, draw=options.draw,
        split=options.split,
    )  # fmt: skip
    write_dataset(sets, options.out)
    train = sum(one.split == "train" for one in sets)
    print(f"{len(sets)} {domain.name} sets, {train} to train and {len(sets) - train} to test")
    print(f"written to {options.out}")
    return 0


def judge(argv: list[str]) -> int:
    domain, size = _domain(argv)

    @dataclass(frozen=True)
    class Options:
        """Judge responses: a line {"observations": [...], "response": "..."} on standard input is
        answered by a line {"key": ..., "valid": ..., "reason": ...} on standard output."""

        domain: tyro.conf.Positional[Literal["causal", "voxel", "boolean"]]
        """Which; its options follow it."""
        options: Annotated[size, tyro.conf.arg(name="")]  # type: ignore[valid-type]

    options: Any = tyro.cli(Options, args=argv, prog="ipsrl hypospace judge")
    from ipsrl.hypospace.task import judge_lines

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
        """Which; its options follow it."""
        responses: tyro.conf.Positional[Path]
        """JSON lines {"id": ..., "response": ..., "seed": 0}; N for each set and seed."""
        data: Path
        """What `ipsrl hypospace dataset` wrote."""
        options: Annotated[size, tyro.conf.arg(name="")]  # type: ignore[valid-type]
        split: Literal["train", "test", "all"] = "all"
        """Observation sets that were asked."""
        protocol: Literal["parallel", "sequential"] = "parallel"
        """Samples of one prompt, or prompts that show the answers so far."""
        model: str | None = None
        """Folder or hub name; with --endpoint, the server's name of the model."""
        endpoint: str | None = None
        """OpenAI-compatible server, such as http://localhost:8000/v1; key in OPENAI_API_KEY."""
        n: int = 64
        """Responses to ask for, per set."""
        temperature: float = 1.0
        """Of the samples."""
        max_tokens: int = 256
        """Most tokens of a response."""
        seed: int = 0
        """Of the samples."""
        resume: bool = False
        """Go on with a file of responses that is not complete."""
        json: bool = False
        """Print an object instead of text."""

    options: Any = tyro.cli(Options, args=argv, prog="ipsrl hypospace evaluate")
    from ipsrl.hypospace.recovery import Response, evaluate
    from ipsrl.hypospace.task import ObservationSet, read_lines

    task = _task(domain, options)
    sets = read_lines(options.data, ObservationSet)
    sets = [one for one in sets if options.split in ("all", one.split)]
    if options.model is not None:
        _ask(options, sets)
    elif options.endpoint is not None or options.resume:
        raise ConfigError("name the --model that is to be asked.")
    result = evaluate(
        task, sets, read_lines(options.responses, Response), protocol=options.protocol
    )
    print(result.json() if options.json else result.text())
    return 0


def _ask(options: Any, sets: Sequence[ObservationSet]) -> None:
    """Write the responses of the model to the file."""
    from ipsrl.hypospace.responses import (
        AT_ONCE,
        Sampling,
        collect,
        collected,
        endpoint,
        local_model,
        respond,
    )  # fmt: skip

    if options.n < 1:
        raise ConfigError(f"n is {options.n}. Ask for one response at least.")
    path = options.responses
    if path.exists() and not options.resume:
        raise ConfigError(
            f"{path} exists. Leave out --model to evaluate what it holds, go on with it by "
            "--resume, or name another file."
        )
    sampling = Sampling(options.temperature, options.max_tokens, options.seed)
    complete = (
        local_model(options.model, sampling)
        if options.endpoint is None
        else endpoint(options.endpoint, options.model, sampling)
    )
    drawn = respond(
        complete, sets, options.n, protocol=options.protocol, seed=options.seed,
        batch=256 if options.endpoint is None else AT_ONCE, earlier=collected(path),
    )  # fmt: skip
    collect(path, drawn)


def _domain(argv: list[str]) -> tuple[Any, type[StrictConfig]]:
    """Domain and configuration that the command names: the other options depend on them."""
    from ipsrl.hypospace.config import DOMAINS

    # Without one, for --help or a name that tyro refuses, the first will do.
    return DOMAINS[next((word for word in argv if word in DOMAINS), "causal")]


def _task(domain: Any, options: Any) -> Any:
    if domain.name != options.domain:  # a file is called like a domain
        raise ConfigError(f"name the domain first: {options.domain}, and then its options.")
    return domain(options.options)
