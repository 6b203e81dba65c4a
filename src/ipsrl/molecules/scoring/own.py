"""Components of one's own: a Python function, or a program over JSON lines."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from ipsrl.errors import ConfigError, words
from ipsrl.functions import call, load_function, name_of, one_each
from ipsrl.molecules.component import Failure, Timeout, guarded
from ipsrl.workers.group import run

LONGEST = 2**24  # bytes that a program answers to one batch; it must not fill the memory


class Function:
    """A Python function of a list of SMILES that returns a list of numbers.

    If it raises, it is asked again for each molecule alone, so that one cannot cost the others.
    """

    def __init__(self, spec: str, identity: str) -> None:
        self.function = load_function(spec)
        self.identity = identity

    def __call__(self, smiles: Sequence[str]) -> Sequence[float | Failure]:
        if not smiles:
            return []
        try:
            values = call(self.function, list(smiles))
            values = one_each(values, name_of(self.function), "values", len(smiles), "molecules")
        except Exception as error:
            if len(smiles) == 1:
                return [Failure(words(error))]
            return [value for text in smiles for value in self([text])]
        return [guarded(lambda v=v: v) for v in values]


@dataclass(frozen=True)
class Program:
    """An external program over JSON lines: {"smiles": ...} in, {"value": ...} out, in order.

    {"error": ...} is a failure with that reason.  If the program breaks down, it is asked for each
    molecule without an answer again, alone.  What has none after `timeout` seconds has failed; and
    all has if there are too many lines, or too few at a regular end, for then nobody knows which
    molecule a line is about.

    Raises:
      ConfigError: if the program is not found.
    """

    command: Sequence[str]
    timeout: float
    identity: str

    def __post_init__(self) -> None:
        if shutil.which(self.command[0]) is None:
            raise ConfigError(
                f"the program {self.command[0]!r} is not found, or not executable, so no molecule "
                "would have a value. Put its folder on the PATH, or write its path."
            )

    def __call__(self, smiles: Sequence[str]) -> Sequence[float | Failure]:
        if not smiles:
            return []
        lines = "".join(json.dumps({"smiles": text}) + "\n" for text in smiles)
        try:
            ended = run(
                self.command, timeout=self.timeout, longest=LONGEST + 1, stdin=lines.encode()
            )
        except OSError as error:
            return [Failure(f"the program cannot be started: {error}")] * len(smiles)
        if len(ended.output) > LONGEST:
            return [Failure(f"the program wrote more than {LONGEST} bytes")] * len(smiles)
        end = None
        if ended.code is None:
            end = Timeout(f"no answer in {self.timeout:g} s")
        elif ended.code:
            last = ended.errors.decode(errors="replace").splitlines()[-1:]
            end = Failure(": ".join([f"the program ended with code {ended.code}", *last])[:200])
        answers = ended.output.splitlines()
        if end and not ended.output.endswith((b"\n", b"}")):
            answers = answers[:-1]  # it broke down within its last line
        if len(answers) > len(smiles) or (not end and len(answers) < len(smiles)):
            told = f"{len(answers)} lines in answer to {len(smiles)} molecules"
            return [Failure(f"the program wrote {told}; it must write one for each")] * len(smiles)
        values = [guarded(lambda line=line: _answer(line)) for line in answers]
        left = smiles[len(values) :]
        if ended.code and len(smiles) > 1:  # one of these may have broken it, the others have not
            return values + [value for text in left for value in self([text])]
        return values + [end] * len(left) if end else values


def _answer(line: bytes) -> float | Failure:
    match json.loads(line):
        case {"value": value}:
            return value
        case {"error": reason}:
            return Failure(f"{reason}"[:200])
    return Failure(f"answered {line[:80]!r}")
