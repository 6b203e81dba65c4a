"""Causal graphs from perturbations: which directed acyclic graphs explain the observations?

Perturbing p has an effect on every strict descendant of p, and on nothing else.
Key: the sorted edges, "A->B,B->C"; "" without edges.  Answer: `Graph: A->B, B->C`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations
from math import comb
from typing import Annotated, ClassVar, NamedTuple

from pydantic import Field

from ipsrl.config import StrictConfig
from ipsrl.errors import ConfigError, InvalidInput
from ipsrl.hypospace.reading import (
    AROUND,
    Part,
    bare,
    from_first_line,
    label,
    labelled,
    replaced,
    torn,
    without_latex,
)
from ipsrl.hypospace.task import Judgement, Malformed, Refused, Unreadable, Verdict, check_size

Edge = tuple[int, int]

_MOST_NODES = 64
_MOST_LISTED = _MOST_NODES**2  # edges, also the same again
_NAMES = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LABEL = label("graph")
# Possessive, so that no text takes more than linear time.
_ARROW = r"(?:--?>|=>|[→⟶⇒]|\\(?:(?:[lL]ong)?[rR]ightarrow|to)(?![a-zA-Z]))"
_BETWEEN = r"(?:[ ,;]|\b[aA][nN][dD]\b)*+"
_EDGE = re.compile(rf"{_BETWEEN}(\w++) *+{_ARROW} *+(\w++){_BETWEEN}")
# Everything that may be meant as an edge, even if it is not read as one.
_ANY_ARROW = re.compile(
    r"[-=~][ \\]?>|<-|&[a-zA-Z]*+(?<=arr)"
    r"|[\u2190-\u21ff\u25b6-\u25bb\u2794-\u27bf\u27f0-\u27ff\u2900-\u297f\u2b00-\u2b11]"
    r"|\\(?:to|gets|implies|leadsto|[a-zA-Z]*+(?<=arrow|apsto))(?![a-zA-Z])"
)
_NO_EDGES = re.compile(r"no +edges?|none|null|empty|\u2205", re.ASCII | re.IGNORECASE)
_ANYTHING = ("none", "null", "empty", "\u2205")  # without a label, they may mean anything
_OBSERVATION = re.compile(r"Perturb\((\w+)\) -> (\w+:[01](?: \w+:[01])*+)", re.ASCII)


class CausalConfig(StrictConfig):
    """Directed acyclic graphs, and how many perturbations are observed (paper, appendix B.1)."""

    heading: ClassVar[str] = "graphs"

    nodes: Annotated[int, Field(ge=1, le=len(_NAMES))] = 4
    """Nodes A, B, C, ..."""
    max_edges: Annotated[int, Field(ge=0)] | None = None
    """Largest number of edges of a graph; no limit if not given."""
    k: Annotated[int, Field(ge=1)] = 3
    """Nodes that are perturbed, one observation each."""


class CausalProblem(NamedTuple):
    """Names of the nodes, and the effects of each perturbation as bits: bit i for node i."""

    index: dict[str, int]
    effects: tuple[tuple[int, int], ...]


class Graph(NamedTuple):
    """A directed acyclic graph read from a response."""

    edges: list[tuple[str, str]]
    children: list[int]
    """For each node, bits of its children."""


class Causal:
    """The domain of causal graphs."""

    name: ClassVar[str] = "causal"
    judged_by: ClassVar[tuple[str, ...]] = ("max_edges",)
    novel_outside: ClassVar[bool] = True

    def __init__(self, config: CausalConfig | None = None) -> None:
        self.config = config or CausalConfig()
        if self.config.k > self.config.nodes:
            raise ConfigError(
                f"k = {self.config.k} of {self.config.nodes} nodes cannot be perturbed, because "
                "each is perturbed once. Choose a smaller k."
            )

    def observation_sets(self) -> Iterator[tuple[tuple[str, ...], list[str]]]:
        """Every choice of k nodes, with every outcome that some graph explains."""
        n, k = self.config.nodes, self.config.k
        most = n * (n - 1) // 2 if self.config.max_edges is None else self.config.max_edges
        check_size(
            sum(count_dags(n)[: most + 1]) * comb(n, k), "Choose fewer nodes, or a lower max_edges."
        )
        graphs = [(_key(edges), reach) for edges, reach in dags(n, most)]
        for perturbed in combinations(range(n), k):
            found: dict[tuple[int, ...], list[str]] = defaultdict(list)
            for key, reach in graphs:
                found[tuple(reach[p] for p in perturbed)].append(key)
            for effects in sorted(found):
                lines = (_line(n, p, bits) for p, bits in zip(perturbed, effects, strict=True))
                yield tuple(lines), found[effects]

    def prompt(self, observations: Sequence[str]) -> str:
        """The question put to a model."""
        names = list(self.problem(tuple(observations)).index)
        most = self._most_edges(len(names))
        lines = "\n".join(observations)
        example = f"Graph: {names[0]}->{names[1]}\n" if len(names) > 1 else ""
        return f"""\
A causal system has the nodes {", ".join(names)}.
Its causes form a directed acyclic graph with at most {most} edges.
Perturbing a node changes every node that can be reached from it along the edges, and no other.
In an observation, a node that changed has 1, and a node that did not has 0, as has the perturbed
node itself.

Observations:
{lines}

Give one graph that explains all observations; there may be several.
Answer with one line, the edges separated by commas, such as
{example}Graph: No edges
"""

    def answer(self, key: str) -> str:
        """The answer that has this key."""
        return "Graph: " + (key.replace(",", ", ") or "No edges")

    @staticmethod
    def problem(observations: tuple[str, ...]) -> CausalProblem:
        """Nodes and effects of lines such as "Perturb(B) -> A:1 B:0 C:0"."""
        index: dict[str, int] = {}
        effects = []
        for line in observations:
            match = _OBSERVATION.fullmatch(line.strip())
            if match is None:
                raise InvalidInput(f"{line[:80]!r} is not of the form 'Perturb(B) -> A:1 B:0 C:0'")
            values = [part.split(":") for part in match[2].split(" ")]
            names = {name: i for i, (name, _) in enumerate(values)}
            index = index or names
            if len(names) < len(values) or list(names) != list(index) or match[1] not in index:
                raise InvalidInput(
                    f"{line[:80]!r} does not list each node once, in the order of the first line"
                )
            bits = sum(1 << i for i, (_, value) in enumerate(values) if value == "1")
            effects.append((index[match[1]], bits))
        if len(index) > _MOST_NODES:
            raise InvalidInput(f"{len(index)} nodes are more than {_MOST_NODES}")
        return CausalProblem(index, tuple(effects))

    def candidates(self, response: str) -> list[Part]:
        """The text after each `Graph:`."""
        return labelled(response.replace("'", ""), _LABEL)

    def read(self, candidate: Part, problem: CausalProblem) -> Graph:
        """Edges on the first line and on further lines; no other line may have an arrow."""
        text = replaced(without_latex(candidate.text), "()[]{}", " ")
        first, _, below = from_first_line(text).partition("\n")
        first = bare(first)
        if not candidate.begun_by and first.lower() in _ANYTHING:
            raise Malformed(f"{first!r} may mean anything without 'Graph:'")
        edges = set() if _NO_EDGES.fullmatch(first) else _edges(first)
        if edges is None:
            raise Malformed(f"{first[:60]!r} is not a list of edges such as A->B, B->C")
        if torn(candidate, _ANY_ARROW) or _ANY_ARROW.search(candidate.after):
            raise Unreadable("what stands around the graph may change it")
        end, number, none = 0, 0, not edges
        while arrow := _ANY_ARROW.search(below, end):
            start = below.rfind("\n", 0, arrow.start()) + 1
            stop = below.find("\n", start)
            stop = stop if stop >= 0 else len(below)
            line = bare(below[start:stop])
            more = None if none or below[end:start].strip(AROUND) else _edges(line)
            if more is None:
                raise Unreadable(f"{line[:60]!r} follows, and is not a list of edges")
            if (number := number + 1) > _MOST_LISTED:
                raise Refused(f"more than {_MOST_LISTED} lines of edges are listed")
            edges |= more
            end = stop
        children = [0] * len(problem.index)
        for cause, effect in sorted(edges):
            for name in (cause, effect):
                if name not in problem.index:
                    raise Refused(f"there is no node {name[:20]!r}")
            if cause == effect:
                raise Refused(f"{cause} is its own cause")
            children[problem.index[cause]] |= 1 << problem.index[effect]
        most = self._most_edges(len(children))
        if len(edges) > most:
            raise Refused(f"{len(edges)} edges are more than {most}")
        if _has_cycle(children):
            raise Refused("the graph has a cycle")
        return Graph(sorted(edges), children)

    def check(self, hypothesis: Graph, problem: CausalProblem) -> Judgement:
        """In H_O iff every perturbation reaches exactly the nodes that changed."""
        key = ",".join([f"{cause}->{effect}" for cause, effect in hypothesis.edges])
        for perturbed, effects in problem.effects:
            if _descendants(hypothesis.children, perturbed) != effects:
                name = list(problem.index)[perturbed]
                return Judgement(key, Verdict.CONTRADICTS, f"perturbing {name} does something else")
        return Judgement(key, Verdict.ADMISSIBLE)

    def _most_edges(self, nodes: int) -> int:
        possible = nodes * (nodes - 1) // 2
        limit = self.config.max_edges
        return possible if limit is None else min(limit, possible)


def dags(n: int, max_edges: int) -> Iterator[tuple[tuple[Edge, ...], tuple[int, ...]]]:
    """Every directed acyclic graph on n labelled nodes with at most `max_edges` edges, once.

    Edges are added in lexicographic order.  Every subgraph of an acyclic graph is acyclic, so that
    each graph is reached along exactly one path.

    Args:
      n: nodes.
      max_edges: most edges.
    Yields:
      sorted edges, and the strict descendants of each node as bits.
    """
    pairs = [(i, j) for i in range(n) for j in range(n) if i != j]
    stack: list[tuple[tuple[Edge, ...], tuple[int, ...], int]] = [((), (0,) * n, 0)]
    while stack:
        edges, reach, start = stack.pop()
        yield edges, reach
        if len(edges) == max_edges:
            continue
        for at in range(start, len(pairs)):
            i, j = pairs[at]
            if not reach[j] >> i & 1:
                new = reach[j] | 1 << j
                grown = tuple(
                    bits | new if u == i or bits >> i & 1 else bits for u, bits in enumerate(reach)
                )
                stack.append(((*edges, pairs[at]), grown, at + 1))


def count_dags(n: int) -> list[int]:
    """Number of directed acyclic graphs on n labelled nodes by their number of edges.

        A_n(x) = sum_k (-1)^(k+1) C(n, k) (1 + x)^(k (n - k)) A_(n-k)(x),   A_0 = 1

    inclusion and exclusion over the k nodes that no edge enters (Robinson 1973; with edges counted
    by powers of x).

    Args:
      n: nodes.
    Returns:
      counts for 0, 1, ..., n (n - 1) / 2 edges.
    """
    polynomials = [[1]]
    for size in range(1, n + 1):
        total = [0] * (size * (size - 1) // 2 + 1)
        for k in range(1, size + 1):
            sign = (-1) ** (k + 1) * comb(size, k)
            between = k * (size - k)
            for power, count in enumerate(polynomials[size - k]):
                for extra in range(between + 1):
                    total[power + extra] += sign * count * comb(between, extra)
        polynomials.append(total)
    return polynomials[n]


def _key(edges: tuple[Edge, ...]) -> str:
    return ",".join([f"{_NAMES[i]}->{_NAMES[j]}" for i, j in edges])


def _line(n: int, perturbed: int, effects: int) -> str:
    values = " ".join(f"{_NAMES[i]}:{effects >> i & 1}" for i in range(n))
    return f"Perturb({_NAMES[perturbed]}) -> {values}"


def _edges(line: str) -> set[tuple[str, str]] | None:
    """The edges of a line that consists of edges only; else None."""
    found, end, listed = set(), 0, 0
    while match := _EDGE.match(line, end):
        found.add((match[1], match[2]))
        if (listed := listed + 1) > _MOST_LISTED:
            raise Refused(f"more than {_MOST_LISTED} edges are listed")
        end = match.end()
    return found if found and end == len(line) else None


def _has_cycle(children: list[int]) -> bool:
    """Remove nodes without children until none is left; a cycle never loses its nodes."""
    left = (1 << len(children)) - 1
    while left:
        ends = 0
        for i, bits in enumerate(children):
            if left >> i & 1 and not bits & left:
                ends |= 1 << i
        if not ends:
            return True
        left &= ~ends
    return False


def _descendants(children: list[int], node: int) -> int:
    found, new = 0, children[node]
    while new:
        found |= new
        reached = 0
        while new:
            lowest = new & -new
            reached |= children[lowest.bit_length() - 1]
            new ^= lowest
        new = reached & ~found
    return found
