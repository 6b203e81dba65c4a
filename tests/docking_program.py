"""A stand-in for a docking program: strict about how it is called, and as bad as it is told to be.

It knows the documented options of QuickVina2-GPU 2.1 and of Uni-Dock, under their names, and
refuses any other, missing or repeated one.  A ligand scores -0.5 kcal/mol for each of its atoms.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

BOX = {f"--{what}_{axis}" for what in ("center", "size") for axis in "xyz"}
COMMON = {"--receptor", "--seed", "--num_modes"} | BOX
KNOWN = {
    "QuickVina2-GPU-2-1": COMMON
    | {"--ligand_directory", "--output_directory", "--opencl_binary_path", "--thread"},
    "unidock": COMMON | {"--ligand_index", "--dir", "--scoring", "--exhaustiveness", "--max_step"},
    "program": COMMON | {"--ligand_directory", "--output_directory", "--behaviour"},
}


def refuse(why: str) -> None:
    print(f"Command line parse error: {why}", file=sys.stderr)
    sys.exit(1)


def options(name: str, words: list[str]) -> dict[str, str]:
    if len(words) % 2:
        refuse("an option without a value")
    keys = words[::2]
    if sorted(keys) != sorted(KNOWN[name]):
        refuse(f"expected {sorted(KNOWN[name])}, got {sorted(keys)}")
    return dict(zip(keys, words[1::2], strict=True))


def ligands(given: dict[str, str]) -> list[Path]:
    if "--ligand_index" in given:
        return [Path(word) for word in Path(given["--ligand_index"]).read_text().split()]
    return sorted(Path(given["--ligand_directory"]).iterdir())


def main() -> None:
    name = Path(sys.argv[0]).name.removesuffix(".py").removeprefix("docking_")
    given = options(name, sys.argv[1:])
    center = [float(given[f"--center_{axis}"]) for axis in "xyz"]
    size = [float(given[f"--size_{axis}"]) for axis in "xyz"]
    if center != [1.0, -2.0, 3.5] or size != [12.0, 13.0, 14.0]:
        refuse(f"the box is {center} {size}")
    if given["--seed"] != "7" or given["--num_modes"] != "1":
        refuse("the seed is 7, and one mode is wanted")
    if given.get("--thread", "8000") != "8000" or given.get("--exhaustiveness", "128") != "128":
        refuse("searches")
    kernels = given.get("--opencl_binary_path")
    if kernels and not (Path(kernels) / "Kernel1_Opt.bin").is_file():
        refuse(f"no kernels in {kernels}")
    receptor = Path(given["--receptor"])
    if receptor.suffix != ".pdbqt" or "ATOM" not in receptor.read_text():
        refuse("no receptor")
    out = Path(given.get("--dir") or given["--output_directory"])
    if not out.is_dir() or list(out.iterdir()):
        refuse(f"{out} is not an empty folder")
    found = ligands(given)
    if not found or any(path.suffix != ".pdbqt" for path in found):
        refuse(f"ligands are {found}")
    behave(given.get("--behaviour", "well"), found, out)


def behave(behaviour: str, found: list[Path], out: Path) -> None:
    print("docking ..." * (10**6 if behaviour == "talks" else 1))
    for i, path in enumerate(found):
        text = path.read_text()
        if "ROOT" not in text or "TORSDOF" not in text:
            refuse(f"{path} is not a ligand")
        score: object = -0.5 * text.count("\nATOM")
        last = i == len(found) - 1
        if last and behaviour == "skips":
            return
        if last and behaviour == "fails":
            print("CUDA error: out of memory", file=sys.stderr)
            sys.exit(139)
        if last and behaviour == "crashes":
            os.abort()
        if last and behaviour.startswith("hangs:"):
            child = subprocess.Popen(["sleep", "600"])
            Path(behaviour.removeprefix("hangs:")).write_text(f"{os.getpid()} {child.pid}")
            time.sleep(600)
        if last and behaviour.startswith("says:"):
            score = behaviour.removeprefix("says:")
        result = f"MODEL 1\nREMARK VINA RESULT:  {score}      0.000      0.000\n{text}ENDMDL\n"
        if last and behaviour == "garbage":
            result = "\0\udcff not a result \n".encode("utf-8", "surrogateescape")
        if last and behaviour == "stops early":
            result = "MODEL 1\nREMARK VINA RESULT:  -1"  # of -12.5
        target = out / f"{path.stem}_out.pdbqt"
        target.write_bytes(result if isinstance(result, bytes) else result.encode())


if __name__ == "__main__":
    main()
