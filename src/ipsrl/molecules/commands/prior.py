"""The commands of priors: `ipsrl molecules pretrain`, `sample` and `import`."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ipsrl.errors import ConfigError
from ipsrl.lazy import loader
from ipsrl.options import parse, say
from ipsrl.threads import one_thread

_load = loader(
    "ipsrl.molecules.generator",
    {"import_mamba": "convert", "sample": "quality"},
    extra="molecules",
)


def pretrain(argv: list[str]) -> int:
    from ipsrl.command import training
    from ipsrl.molecules.config import PretrainConfig

    asked = training(argv, "ipsrl molecules pretrain", PretrainConfig)
    one_thread()

    from ipsrl.molecules import pretrain

    with asked.running():
        result = pretrain(asked.config, asked.out, resume=asked.resume)
    asked.say(
        f"{result.molecules} molecules learned, {result.left_out} lines left out; "
        f"held-out negative log-likelihood {result.nll[-1]:.2f}\n"
        f"the prior is {asked.out / 'prior'}",
        result,
    )
    return 0


def sample(argv: list[str]) -> int:
    @dataclass(frozen=True)
    class Options:
        """Draw molecules from a prior; say how many are valid and distinct, and how they differ.

        With --known it also says how many are new, and with --out it writes them.
        """

        prior: str = "zinc"
        """A shipped prior, or a folder that `molecules pretrain` wrote."""
        n: int = 1000
        """SMILES that are drawn."""
        seed: int = 0
        """Seed of the sampling."""
        known: Path | None = None
        """File of SMILES: novelty is the share of distinct molecules that are not in it."""
        decorate: str = ""
        """Fragment with attachment points, such as "c1ccc(*)cc1", that they are written around; a
        molecule without it is not valid."""
        device: Literal["auto", "cpu", "cuda"] = "auto"
        """Where the prior runs: on a GPU, cuda, where PyTorch finds one, or on the processor."""
        out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
        """File for the SMILES, as they were drawn."""
        json: bool = False
        """Print an object instead of text."""

    options = parse(Options, argv, "ipsrl molecules sample")
    if options.n < 1:
        raise ConfigError(f"--n {options.n} draws nothing. Ask for at least 1.")
    if not 0 <= options.seed < 2**31:
        raise ConfigError(
            f"--seed {options.seed} is not a seed. Choose one from 0 to 2,147,483,647."
        )
    if options.out is not None and (options.out.is_dir() or not options.out.parent.is_dir()):
        raise ConfigError(f"{options.out} cannot be written. Name a file in a folder that exists.")
    one_thread()

    draw = _load("sample")
    from ipsrl.runs import check_free

    if options.out is not None:
        check_free(options.out)
    drawn, quality = draw(
        options.prior, options.n, seed=options.seed, known=options.known,
        decorate=options.decorate, device=options.device,
    )  # fmt: skip
    if options.out is not None:
        options.out.write_text("".join(f"{text}\n" for text in drawn))
    figures = {key: value for key, value in asdict(quality).items() if value is not None}
    lines = [
        f"{key.replace('_', ' '):19} {value:.4g}"
        for key, value in figures.items()
        if key != "left_out"
    ]
    lines += [f"lines left out      {n} ({why})" for why, n in quality.left_out.items()]
    say("\n".join(lines), figures, options.json)
    return 0


def import_(argv: list[str]) -> int:
    @dataclass(frozen=True)
    class Options:
        """Make a prior of the weights of Saturn's or mamba-ssm's language model."""

        weights: Path
        """Safetensors of the state dictionary; of a pickle, examples/saturn_to_safetensors.py makes
        them."""
        tokens: Path
        """JSON list of the tokens in the order of their ids."""
        out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
        """Folder to write."""
        json: bool = False
        """Print an object instead of text."""

    options = parse(Options, argv, "ipsrl molecules import")
    import_mamba = _load("import_mamba")
    if options.out.exists():
        raise ConfigError(f"{options.out} exists, and would be overwritten. Name another --out.")
    import_mamba(options.weights, options.tokens).save(options.out)
    say(f"written to {options.out}", {"out": str(options.out)}, options.json)
    return 0
