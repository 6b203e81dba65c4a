"""The commands `ipsrl train molecules` and `ipsrl molecules ...`."""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from ipsrl.errors import ConfigError, InvalidInput, RunError
from ipsrl.lazy import loader
from ipsrl.options import parse, say
from ipsrl.threads import one_thread

_load = loader(
    "ipsrl.molecules",
    {
        "import_mamba": "generator.convert",
        "read_smiles": "generator.pretraining",
        "sample": "generator.quality",
    },
    extra="molecules",
)


def train(argv: list[str]) -> int:
    from ipsrl.command import training
    from ipsrl.molecules.config import Config

    asked = training(argv, "ipsrl train molecules", Config)
    one_thread()

    from ipsrl.molecules import train

    with asked.running():
        result = train(asked.config, asked.out, resume=asked.resume)
    best = "none" if result.best is None else f"{result.best:.3f}"
    ob100 = f"{result.ob100} calls to 100 hits" if result.ob100 else "fewer than 100 hits"
    threshold = asked.config.threshold
    asked.say(
        f"{result.calls} oracle calls, {result.failed} failed, {result.timeouts} out of time; "
        f"best reward {best}\n"
        f"{result.hits} hits above {threshold:g}, {result.scaffolds} scaffolds; {ob100}",
        result,
    )
    if result.best is None:
        raise RunError("; ".join(
            ["no oracle call has a value, so nothing was learned",
             *(f"{count} times {reason}" for reason, count in result.reasons.items())]
        ))  # fmt: skip
    return 0


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
    lines = (f"{key.replace('_', ' '):19} {value:.4g}" for key, value in figures.items())
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


def translate(argv: list[str]) -> int:
    @dataclass(frozen=True)
    class Options:
        """Translate a configuration of Saturn or REINVENT4, and say what its keys became."""

        source: tyro.conf.Positional[Path]
        """JSON file of a goal-directed generation of Saturn, or TOML file of REINVENT4: a staged
        learning, a scoring, or components alone."""
        out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
        """TOML file to write."""
        json: bool = False
        """Print what became of each key as an object instead of text."""

    options = parse(Options, argv, "ipsrl molecules translate")
    from ipsrl.molecules import reinvent4, saturn
    from ipsrl.runs import check_free

    theirs = reinvent4 if options.source.suffix == ".toml" else saturn
    made = theirs.translate(options.source)
    check_free(options.out)
    options.out.write_text(made.toml())
    lines = [f"{key}\n    {became}" for key, became in made.told]
    lines.append(f"written to {options.out}; try:  ipsrl train molecules --config {options.out}")
    found = {"out": str(options.out), "translated": made.told, "lost": made.lost}
    say("\n".join(lines), found, options.json)
    for key, why in made.lost:
        print(f"NOT TRANSLATED: {key}: {why}", file=sys.stderr)
    return 0


def receptor(argv: list[str]) -> int:
    @dataclass(frozen=True)
    class Options:
        """Prepare a protein for docking: receptor.pdbqt, ligand.pdb and receptor.toml.

        The box is a cube of 20 Angstrom around the centroid of the reference ligand.
        """

        source: tyro.conf.Positional[str]
        """PDB code such as 7UVU, which is downloaded from RCSB, or a .pdb or .cif file."""
        out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
        """Folder to write."""
        ligand: Path | None = None
        """File of the reference ligand, if it is not in the source: PDB, mmCIF, SDF or MOL2."""
        residue: str = ""
        """Name of the reference ligand; if not given, the largest residue that is not a polymer."""
        json: bool = False
        """Print an object instead of text."""

    options = parse(Options, argv, "ipsrl molecules receptor")
    _check_folder(options.out)
    from ipsrl.molecules.docking.docking import check_libraries

    check_libraries()
    from ipsrl.molecules.docking.receptor import prepare

    made = prepare(options.source, options.out, ligand=options.ligand, residue=options.residue)
    left_out, others = (", ".join(names) or "none" for names in (made.left_out, made.others))
    say(
        f"reference ligand {made.ligand}; box around {made.center}\n"
        f"chains {', '.join(made.chains)}; residues that fit no template and are left out: "
        f"{left_out}\nin the box, but no protein, and left out: {others}\n"
        f"written to {made.folder}; try:  ipsrl molecules redock "
        f"--receptor {made.folder / 'receptor.pdbqt'} --ligand {made.folder / 'ligand.pdb'}",
        {**asdict(made), "folder": str(made.folder)},
        options.json,
    )
    return 0


def redock(argv: list[str]) -> int:
    @dataclass(frozen=True)
    class Options:
        """Dock a reference ligand with Vina: is the pose that the crystal shows found again?"""

        receptor: Path
        """PDBQT file."""
        ligand: Path
        """File of the ligand as the crystal shows it: PDB, SDF or MOL2."""
        smiles: str = ""
        """SMILES of the ligand; if not given, bonds that a PDB file lacks are guessed from the
        distances."""
        seeds: int = 5
        """Dockings for each budget."""
        max_evals: tuple[int, ...] = (25_000, 100_000, 1_000_000)
        """Budgets: evaluations of the search."""
        json: bool = False
        """Print an object instead of text."""

    options = parse(Options, argv, "ipsrl molecules redock")
    if options.seeds < 1 or not options.max_evals:
        raise ConfigError("nothing would be docked. Give at least 1 seed and 1 budget.")
    from ipsrl.molecules.docking.docking import check_libraries

    check_libraries("vina")
    from ipsrl.molecules.docking.redock import redock

    report = redock(
        options.receptor, options.ligand, smiles=options.smiles,
        seeds=options.seeds, budgets=options.max_evals,
    )  # fmt: skip
    say(report.text(), asdict(report), options.json)
    return 0


def rank(argv: list[str]) -> int:
    @dataclass(frozen=True)
    class Options:
        """Dock ligands with Vina at several budgets: what they cost, and whether they rank alike.

        Each ligand takes about 20 seconds of one core, 15 dockings of which one is long.
        """

        config: Path
        """Configuration with a docking component: receptor.toml of `molecules receptor`."""
        smiles: Path
        """File of SMILES, .smi or .smi.gz, of which ligands are drawn."""
        out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
        """Folder for table.json and dockings.jsonl."""
        n: int = 200
        """Ligands."""
        minutes: float = 20.0
        """Limit of processor time: no ligand is begun after that."""
        seed: int = 0
        """Seed of the draw."""
        json: bool = False
        """Print the table as an object instead of text."""

    options = parse(Options, argv, "ipsrl molecules rank")
    from ipsrl.molecules.config import Config

    parts = [one.docking for one in Config.load(options.config).components if one.docking]
    if not parts:
        raise ConfigError(f"{options.config} has no docking component. Name one that has.")
    if options.n < 1 or not options.minutes > 0:
        raise ConfigError("nothing would be docked. Give at least 1 ligand and some minutes.")
    _check_folder(options.out)
    from ipsrl.molecules.docking.docking import check_libraries

    check_libraries("vina")
    from ipsrl.molecules.docking.rank import dock, rows, text

    read_smiles = _load("read_smiles")
    from ipsrl.runs import Folder, progress

    molecules = list(read_smiles(options.smiles)[0].values())
    folder, found, left_out = Folder.make(options.out), {}, 0
    folder.claim("table.json", "dockings.jsonl")
    docked = dock(parts[0], molecules, count=options.n, minutes=options.minutes, seed=options.seed)
    with progress("docking", options.n) as advance:
        for smiles, dockings in docked:
            left_out += not dockings
            found |= {smiles: dockings} if dockings else {}
            lines = ({"smiles": s, "dockings": list(map(asdict, d))} for s, d in found.items())
            content = "".join(f"{json.dumps(line)}\n" for line in lines)
            folder.write("dockings.jsonl", content.encode())
            advance(len(found) + left_out, smiles)
    table = rows(list(found.values()))
    written = {"ligands": len(found), "left_out": left_out, "rows": list(map(asdict, table))}
    folder.write("table.json", json.dumps(written, indent=2).encode() + b"\n")
    say(
        f"{text(table, len(found))}\n"
        f"{left_out} ligands were left out, because a docking had no score\n"
        f"written to {options.out}",
        written,
        options.json,
    )
    return 0


def route(argv: list[str]) -> int:
    @dataclass(frozen=True)
    class Options:
        """Find a synthesis of each molecule from what can be bought, and draw it."""

        smiles: tyro.conf.Positional[tuple[str, ...]]
        """Molecules."""
        stock: str = "common"
        """What can be bought: a stock that comes with ipsrl, or a file of SMILES, .smi or
        .smi.gz."""
        model: Literal["templates", "megan"] = "templates"
        """What proposes the last step; megan needs `ipsrl workers install megan`."""
        search: Literal["retro-star", "breadth-first"] = "retro-star"
        """How the molecule that is taken apart next is chosen."""
        seconds: float = 180.0
        """Limit for each molecule."""
        expansions: int = 500
        """Limit for each molecule: molecules that are taken apart."""
        out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
        """Folder for routes.json and a picture of each route, route-1.svg ..."""
        json: bool = False
        """Print the routes as JSON instead of text."""

    options = parse(Options, argv, "ipsrl molecules route")
    if not options.smiles:
        raise ConfigError("there is no molecule to make. Give at least one SMILES.")
    if options.out is not None:
        _check_folder(options.out)
    from ipsrl.molecules.config import SynthesisConfig

    config = SynthesisConfig(
        model=options.model, stock=options.stock, search=options.search, seconds=options.seconds,
        expansions=options.expansions,
    )  # fmt: skip
    from ipsrl.molecules import Synthesis
    from ipsrl.runs import Folder

    synthesis = Synthesis(config)
    if left_out := synthesis.stock.skipped:
        print(
            f"{left_out} lines of the stock are not molecules, and were left out", file=sys.stderr
        )
    targets = [_molecule(text) for text in options.smiles]
    folder = None if options.out is None else Folder.make(options.out)
    if folder is not None:
        pictures = (f"route-{number}.svg" for number in range(1, len(targets) + 1))
        folder.claim("routes.json", *pictures)
    rows: list[dict[str, Any]] = []
    for number, target in enumerate(targets, 1):
        found = synthesis.route(target)
        rows.append({"smiles": target, "route": None if found is None else asdict(found)})
        if folder is not None:
            folder.write("routes.json", json.dumps(rows, indent=2).encode() + b"\n")
            if found is not None:
                from ipsrl.molecules.synthesis.picture import route_svg

                folder.write(f"route-{number}.svg", route_svg(found).encode())
        if not options.json:
            print(f"{target}\n{_steps(found)}", flush=True)
    if options.json:
        print(json.dumps(rows, indent=2))
    if options.out is not None:
        print(f"written to {options.out}", file=sys.stderr)
    return 0


def _check_folder(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise ConfigError(f"--out {path} is a file. Name a folder.")


def _molecule(text: str) -> str:
    from ipsrl.molecules.molecule import canonical

    if (smiles := canonical(text)) is None:
        raise InvalidInput(f"{text!r} is not a molecule. Correct the SMILES.")
    return smiles


def _steps(route: Any) -> str:
    if route is None:
        return "  no route within the limits"
    if not route.reactions:
        return "  in stock"
    return "\n".join(f"  {r.smiles}  {r.template}" for r in route.reactions)
