"""Causal graphs: counts of the specification, brute force, and an independent reader."""

from collections import Counter
from functools import lru_cache
from itertools import chain, combinations, pairwise, product
from statistics import mean

import hypospace_checker as checker
import pytest
from helpers import SIGMAS
from hypospace_suite import TaskSuite

from ipsrl.errors import ConfigError, InvalidInput
from ipsrl.hypospace import Causal, CausalConfig, Verdict, dataset, judge
from ipsrl.hypospace.causal import count_dags, dags


@lru_cache(maxsize=4096)
def closure(key: str) -> frozenset[tuple[str, str]]:
    """Pairs (ancestor, descendant), by Warshall's algorithm on names."""
    reach = {tuple(edge.split("->")) for edge in key.split(",") if edge}
    for middle in "ABCDE":
        for a, b in product("ABCDE", repeat=2):
            if (a, middle) in reach and (middle, b) in reach:
                reach.add((a, b))
    return frozenset(reach)


@lru_cache
def brute_force(names: str) -> frozenset[str]:
    """Keys of all sets of edges whose closure has no loop."""
    pairs = [f"{a}->{b}" for a in names for b in names if a != b]
    subsets = chain.from_iterable(combinations(pairs, r) for r in range(len(pairs) + 1))
    keys = (",".join(subset) for subset in subsets)
    return frozenset(key for key in keys if all(a != b for a, b in closure(key)))


def sets_of(**options):
    return list(Causal(CausalConfig(**options)).observation_sets())


class TestCausal(TaskSuite):
    task = Causal()
    beginning = "Graph:"
    decorations = (
        "**{label}:** {body}",
        "{label}: `{body}`",
        '{label}: "{body}".',
        "{label}:\n```\n{body}\n```",
        "**{label}:**\n{body}",
        "{label} : {body}",
        "__{label}:__ {body}",
        "{label}: \u201c{body}\u201d",
        "{label}:\n- {body}",
        "{body}",
        "graph: {body};",
        '{{"graph": "{body}"}}',
        '```json\n{{"why": "so", "graph": ["{body}"], "sure": true}}\n```',
        "Hence $\\boxed{{{body}}}$ is one.\n\nIt explains all.",
        "\\boxed{{\\text{{{label}: }} {body}}}.",
        "{label}: [{body}]",
        "{label}: {{{body}}}.",
        "{label}: \\({body}\\)",
        "{label}:- {body}",
        "> {label}:\n> 1. {body}",
    )
    refused = (
        ("none", Verdict.NO_ANSWER),  # alone, it may mean anything
        ("None.", Verdict.NO_ANSWER),
        ("Graph: No edges\nA->B, B->C", Verdict.NO_ANSWER),
        ("Graph: A->B\nC->D or A->D", Verdict.NO_ANSWER),
        ("Graph: A->E", Verdict.REFUSED),  # unknown node
        ("Graph: a->B", Verdict.REFUSED),
        ("Graph: A->A", Verdict.REFUSED),
        ("Graph: A->B, B->A", Verdict.REFUSED),
        ("Graph: A->B, B->C, C->D, D->B", Verdict.REFUSED),
        ("Graph: A->B, A->C, A->D, B->C, B->D, C->D, D->A", Verdict.REFUSED),  # 7 edges
        ("Graph: A->B, B->C, C->D", Verdict.CONTRADICTS),
        ("", Verdict.NO_ANSWER),
        ("Graph:", Verdict.NO_ANSWER),
        ("Graph: A->B, - A->C", Verdict.NO_ANSWER),  # a mark of a list, but not at its start
        ("Graph: A->B and nothing else", Verdict.NO_ANSWER),
        ("Graph: A<-B", Verdict.NO_ANSWER),
        ("Graph: A->B->C", Verdict.NO_ANSWER),
        ("Graph: A->", Verdict.NO_ANSWER),
        ("None of the graphs fits.", Verdict.NO_ANSWER),  # not the empty graph
        ("Graph: none of these", Verdict.NO_ANSWER),
        ("I think\nA->B", Verdict.NO_ANSWER),  # no label, more than a line
        ("Subgraph: A->B", Verdict.NO_ANSWER),
    )
    vocabulary = (
        "A", "B", "C", "D", "E", "->", "-->", "=>", "→", ",", ", ", "A->B", "A->B\n", "D->A, ",
        "->C", "Graph:", "Graph: ", "graph", "No edges", "none", "\n", "\nGraph: A->B\n",
        "<end_of_turn>", "`", "**", ".", "<-", "and", " and ", "[", "]", "{", "}", "(", ")", "\\(",
        "\\)", "\\to ", "\\boxed{", "\\text{", "empty", "null", "no edge", '{"graph": "', '"}',
        '{"', '": ["', "- ", "> ", "1. ", "_", "'", "~", "\\, ", "```", "\r", "(2) B->C", "B--->C",
        "\n\n- ", "\u2794 ", "C<-B", "\n+ B->C", "\nor\n", "\n...\n", "\\boxed{A->B}", "NOT ",
        "wrong_", "Graph = ", "</answer>", "\u2205", "[]", "f = ", "!", "=", " why", "\\gets",
        "&rarr;", "- >",
    )  # fmt: skip

    def hypotheses(self):
        return brute_force("ABCD")

    def explains(self, key, observations):
        for line in observations:
            left, right = line.split(" -> ")
            changed = {
                name for name, _, value in (v.partition(":") for v in right.split()) if value == "1"
            }
            if {b for a, b in closure(key) if a == left[len("Perturb(") : -1]} != changed:
                return False
        return True

    def stated(self, response, observations):
        text = checker.without_noise(response).replace("'", "")
        labelled = checker.beginnings(text, "graph") != []
        for part in reversed(checker.parts(text, "graph")):
            plain = checker.spaced(part.text, checker.LATEX)
            plain = "".join(" " if c in "()[]{}" else c for c in plain)
            edges = graph_of(checker.lines_of(plain) or [""], labelled)
            if edges is not None:
                if "unreadable" in edges or checker.torn(part, any_arrow) or any_arrow(part.after):
                    return None
                nodes = set(
                    observations[0].partition(" -> ")[2].replace(":0", "").replace(":1", "").split()
                )
                key = ",".join(sorted(f"{a}->{b}" for a, b in edges))
                named = {name for edge in edges for name in edge} <= nodes
                return key if named and key in self.hypotheses() else None
        return None


ARROWS = ["-->", "->", "=>", "\u2192", "\u27f6", "\u21d2"]
ARROWS += [rf"\{a}{b}ightarrow" for a in ("", "long", "Long") for b in "rR"] + [r"\to"]


def arrow_at(line: str, at: int) -> str:
    for arrow in ARROWS:
        after = line[at + len(arrow) : at + len(arrow) + 1]
        command = arrow.startswith("\\") and after.isascii() and after.isalpha()
        if line.startswith(arrow, at) and not command:
            return arrow
    return ""


def words_of(line: str) -> list[str]:
    """Names, "->" for any arrow, and every other character but spaces."""
    words, at = [], 0
    while at < len(line):
        end = at
        while end < len(line) and (line[end].isalnum() or line[end] == "_"):
            end += 1
        if end > at:
            words.append(line[at:end])
        elif arrow := arrow_at(line, at):
            words, end = [*words, "->"], at + len(arrow)
        else:
            words, end = words + [line[at]] * (line[at] != " "), at + 1
        at = end
    return words


def edges_of(line: str) -> tuple[list[tuple[str, str]], bool]:
    """Edges that a line begins with, and whether it has nothing else."""
    words, edges = words_of(line), []
    while words:
        if words[0] in (",", ";") or words[0].lower() == "and":
            del words[0]
        elif (
            len(words) > 2
            and words[1] == "->"
            and (words[0] + words[2]).replace("_", "a").isalnum()
        ):
            edges.append((words[0], words[2]))
            del words[:3]
        else:
            break
    return edges, not words


UNICODE_ARROWS = [(0x2190, 0x21FF), (0x2794, 0x27BF), (0x27F0, 0x27FF), (0x2900, 0x297F)]
UNICODE_ARROWS += [(0x2B00, 0x2B11), (0x25B6, 0x25BB)]


def any_arrow(text: str) -> bool:
    """Is there whatever may be meant as an edge?"""
    if "<-" in text or any(a + b + ">" in text for a in "-=~" for b in ("", " ", "\\")):
        return True
    if any(a <= ord(c) <= b for c in text for a, b in UNICODE_ARROWS):
        return True
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    names = [rest[: len(rest) - len(rest.lstrip(letters))] for rest in text.split("\\")[1:]]
    known = ("to", "gets", "implies", "leadsto")
    if any(name in known or name.endswith(("arrow", "apsto")) for name in names):
        return True
    names = [rest[: len(rest) - len(rest.lstrip(letters))] for rest in text.split("&")[1:]]
    return any(name.endswith("arr") for name in names)


def graph_of(lines: list[str], labelled: bool) -> set | None:
    """Edges of the lines; None if the first is not a graph, "unreadable" among them if one is."""
    line = checker.unframed(lines[0])
    first = " ".join(line.lower().split()) if line.isascii() or line == "\u2205" else ""
    nothing = first in ("no edges", "no edge")
    nothing |= labelled and first in ("none", "null", "empty", "\u2205")
    edges, whole = edges_of(line)
    if not nothing and not (edges and whole):
        return None
    graph, prose = set(edges), nothing
    for line in lines[1:]:
        edges, whole = edges_of(checker.unframed(line))
        if any_arrow(line):
            graph |= {*edges} if edges and whole and not prose else {"unreadable"}
        blank = not line.strip(checker.BEFORE_A_LINE + checker.AFTER_A_LINE)
        prose = prose or not (edges or blank)
    return graph


def test_graphs_by_number_of_edges():
    """Robinson's recurrence, our enumeration, and all 4,096 sets of edges agree."""
    assert count_dags(4) == [1, 12, 60, 152, 186, 108, 24]
    by_edges = Counter(len(edges) for edges, _ in dags(4, 6))
    assert [by_edges[m] for m in range(7)] == count_dags(4)
    assert len(brute_force("ABCD")) == 543
    assert len(brute_force("ABC")) == sum(count_dags(3)) == 25
    assert sum(count_dags(5)) == sum(1 for _ in dags(5, 10)) == 29281
    assert sum(1 for _ in dags(5, 3)) == sum(count_dags(5)[:4])


@pytest.mark.parametrize(("nodes", "numbers"), [(3, [12, 30, 19]), (4, [32, 204, 392, 219])])
def test_observation_sets_by_number_of_perturbations(nodes, numbers):
    assert [len(sets_of(nodes=nodes, k=k)) for k in range(1, nodes + 1)] == numbers
    if nodes == 4:
        assert sum(numbers) == 847


@pytest.mark.parametrize(("nodes", "k"), [(3, 1), (3, 2), (3, 3), (4, 2)])
def test_kept_iff_some_graph_reproduces_all(nodes, k):
    """All choices of effects, each tried against all graphs."""
    names = "ABCD"[:nodes]
    values = list(product("01", repeat=nodes))
    kept = set()
    for perturbed in combinations(names, k):
        for effects in product(values, repeat=k):
            lines = tuple(
                f"Perturb({p}) -> "
                + " ".join(f"{n}:{v}" for n, v in zip(names, effect, strict=True))
                for p, effect in zip(perturbed, effects, strict=True)
            )
            if any(TestCausal().explains(key, lines) for key in brute_force(names)):
                kept.add(lines)
    assert kept == {lines for lines, _ in sets_of(nodes=nodes, k=k)}


def test_admissible_graphs_of_the_paper():
    sizes = [len(keys) for _, keys in sets_of()]
    assert Counter(sizes) == {1: 76, 2: 84, 3: 48, 4: 12, 5: 12, 8: 76, 9: 12, 12: 48, 16: 24}
    # Each of the 543 graphs is in one set for each of the 4 choices of perturbed nodes.
    assert sum(sizes) == 543 * 4
    assert mean(sizes) == pytest.approx(5.54, abs=0.005)


def test_drawn_by_graphs_sets_are_larger():
    """The other way to draw the 100: mean |H| 8.76 with a spread of 0.37 (3,000 draws).

    One draw is likely to have the 8.6 of the specification.  Were sets drawn with replacement, the
    mean would be sum |H|^2 / sum |H| = 20228 / 2172 = 9.31.
    """
    means = {
        draw: mean(
            mean(len(one.admissible) for one in dataset(Causal(), seed=seed, draw=draw))
            for seed in range(20)
        )
        for draw in ("sets", "hypotheses")
    }
    assert means["hypotheses"] == pytest.approx(8.76, abs=SIGMAS * 0.37 / 20**0.5)
    assert means["sets"] == pytest.approx(5.54, abs=SIGMAS * 0.40 / 20**0.5)


def test_three_nodes_by_hand():
    """Perturbing A changes B and C, perturbing B changes nothing.

    A reaches B and C, and B reaches nothing.  So there is no edge out of B.  A->B directly or by
    C, A->C directly (not by B).  C must not reach A.  So A->C, and of A->B, C->B at least one:
    three graphs.
    """
    lines = ("Perturb(A) -> A:0 B:1 C:1", "Perturb(B) -> A:0 B:0 C:0")
    found = dict(sets_of(nodes=3, k=2))[lines]
    assert sorted(found) == ["A->B,A->C", "A->B,A->C,C->B", "A->C,C->B"]
    judgement = judge(Causal(), lines, "Graph: C->B, A->C")
    assert (judgement.key, judgement.valid) == ("A->C,C->B", True)
    judgement = judge(Causal(), lines, "Graph: A->B, B->C")
    assert (judgement.key, judgement.valid) == ("A->B,B->C", False)
    assert judgement.reason == "contradicts the observations: perturbing B does something else"


def test_a_limit_on_edges_is_kept_by_generator_and_judge():
    task = Causal(CausalConfig(nodes=3, k=2, max_edges=2))
    lines = ("Perturb(A) -> A:0 B:1 C:1", "Perturb(B) -> A:0 B:0 C:0")
    assert sorted(dict(task.observation_sets())[lines]) == ["A->B,A->C", "A->C,C->B"]
    assert judge(task, lines, "Graph: A->B, A->C, C->B").verdict is Verdict.REFUSED
    assert "at most 2 edges" in task.prompt(lines)


def test_edges_on_further_lines_belong_to_the_graph():
    lines = ("Perturb(A) -> A:0 B:1 C:1", "Perturb(B) -> A:0 B:0 C:0")
    assert judge(Causal(), lines, "Graph:\nA->B,\nA->C\n\nDone.").key == "A->B,A->C"
    assert judge(Causal(), lines, "Graph: A -> B; A  -->  C, A=>B").key == "A->B,A->C"
    assert judge(Causal(), lines, "Graph: A->B, A->C\n\nC->B").key == "A->B,A->C,C->B"
    assert judge(Causal(), lines, "Graph: A → B, A->C").key == "A->B,A->C"


def test_arrows_in_the_answer_of_no_edges():
    lines = ("Perturb(A) -> A:0 B:0",)
    for text in ("Graph: No edges", "Graph: no edges.", "**Graph:** None", "No edges"):
        judgement = judge(Causal(), lines, text)
        assert (judgement.key, judgement.valid) == ("", True)
    assert judge(Causal(), lines, "Graph: A->B\nThere are none.").key == "A->B"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("Graph:- B->A, D->A, D->C", "B->A,D->A,D->C"),
        ("Graph: empty", ""),
        ("Graph: null", ""),
        ("Graph: no edge", ""),
        ("Graph: No  edges.", ""),
        ("Graph: (none)", ""),
        (r"Graph: \(A \to B\)", "A->B"),
        (r"Graph: $A \rightarrow B,\; B \Longrightarrow C$.", "A->B,B->C"),
        (r"\[\text{Graph: } \{A \to B\}\]", "A->B"),
        ("Graph: [A->B]", "A->B"),
        ("Graph: {A->B, B->C}", "A->B,B->C"),
        ("Graph: (A->B), (B->C)", "A->B,B->C"),
        ("Graph: A->B and B->C", "A->B,B->C"),
        ("Graph: A->B, B->C, and C->D.", "A->B,B->C,C->D"),
        (r"Graph: \boxed{A->B}", "A->B"),
        (r"\boxed{Graph: A->B}", "A->B"),
        ("D is free.\n\nSo it is $\\boxed{A \\to B}$, as C shows.\n", "A->B"),
        ("Graph: A->B\n\nIt has \\boxed{1} edge.", "A->B"),
        ('{"graph": "A->B, B->C"}', "A->B,B->C"),
        ('{"graph": ["A->B", "B->C"], "why": "A reaches C."}', "A->B,B->C"),
        ('```json\n{"answer": {"graph": "A\\u2192B"}}\n```', "A->B"),
        ('{"graph": null}', ""),
        ("{'graph': 'A->B'}", "A->B"),
        ('{"graph": ["A->B"', "A->B"),  # a broken object is text
        # What is not a list of edges.
        ("Graph: A->{B, C}", None),
        ("Graph: A->B; C", None),
        ("Graph: A->B or B->C", None),
        ('{"graph": [["A", "B"]]}', None),
        ("null", None),
        ("(none)", None),
        ("Graph: A->B\nB->C, if at all, C->D", None),
        ("Graph: A->B, B->C\nA->B because B changes with A.\n\nB->C", None),
        # Edges after blank lines belong to the graph; after other lines, it is unreadable.
        ("Graph:\n\nA->B\n\nB->C", "A->B,B->C"),
        ("Graph:\n- A->B\n\n- B->C", "A->B,B->C"),
        ("Graph: A->B,\n\nB->C\n\nIt explains all.", "A->B,B->C"),
        ("Graph: A->B\n...\nB->C", "A->B,B->C"),
        ("Graph: A->B,\nand\nB->C", None),
        ("Graph: A->B, B->C\nor\nA->C, C->B", None),
        ("Graph: No edges\n\nA->B", None),
        ("Graph: No edges\nexcept A->B", None),
        # What is struck out or negated.
        ("Graph: ~A->B", None),
        ("Graph: ~(A->B)", None),
        ("Graph: ~~A->B~~", None),
        ("Graph: A->B, B->C, ~~A->C~~", None),
        ("NOT Graph: A->B", None),
        ("Graph: A->B\n\nNOT Graph: B->C", None),
        ('{"wrong_graph": "A->B"}', None),
        ("wrong-graph: A->B", None),
        # A box with more beside it or below.
        (r"Graph: \boxed{A->B}, B->C", None),
        (r"Graph: B->C, \boxed{A->B}", None),
        (r"\boxed{A->B}, \boxed{B->C}", None),
        ("Graph:\n\\boxed{A->B}\nB->C", None),
        (r"Graph: G = \boxed{A->B}.", "A->B"),
        (r"\boxed{A->B", None),
        # Short forms.
        ("Graph: \u2205", ""),
        ("\u2205", None),
        ('{"graph": []}', ""),
        ("Graph = A->B", "A->B"),
        ("<answer>Graph: A->B</answer>", "A->B"),
    ],
)
def test_forms_of_an_answer(text, key):
    lines = ("Perturb(A) -> A:0 B:1 C:1 D:0",)
    assert judge(Causal(), lines, text).key == key
    assert TestCausal().stated(text, lines) == key


@pytest.mark.parametrize(
    "line",
    [
        "- B->C (because C changed)", "B->C: direct", "+ B->C", "(2) B->C", "\u25e6 B->C",
        "\u2013 B->C", "- [x] B->C", "1.B->C", "Edge 2: B->C", "B--->C", "B \u2794 C", "C<-B",
        "-> C", "plus B->C", "B => C?!x", "B ~> C", r"C \gets B", r"B \hookrightarrow C",
        "C \u2190 B", r"B \longmapsto C", r"B -\> C", "B - > C", "B &rarr; C", "B \u25b6 C",
        r"B \implies C",
    ],
)  # fmt: skip
def test_an_edge_that_cannot_be_read_is_not_dropped(line):
    lines = ("Perturb(A) -> A:0 B:1 C:0",)
    assert judge(Causal(), lines, "Graph: A->B").valid
    for between in ("\n", "\n\n", "\nand\n", "\nIt is so.\n\n"):
        for text in (f"Graph: A->B{between}{line}", f"\\boxed{{A->B}}{between}{line}"):
            assert judge(Causal(), lines, text).key is None
            assert TestCausal().stated(text, lines) is None


def test_judging_has_the_size_of_the_observations():
    """Twelve nodes in a chain: no enumeration is needed."""
    names = "ABCDEFGHIJKL"
    lines = tuple(f"Perturb({p}) -> " + " ".join(f"{n}:{int(n > p)}" for n in names) for p in names)
    chain_ = ",".join(f"{a}->{b}" for a, b in pairwise(names))
    assert judge(Causal(), lines, f"Graph: {chain_}").valid
    assert not judge(Causal(), lines, f"Graph: {chain_.rpartition(',')[0]}").valid


@pytest.mark.parametrize(
    "lines",
    [
        ("Perturb(A) -> A:0 B:2",),
        ("Perturb(C) -> A:0 B:1",),
        ("Perturb(A) -> A:0 A:1",),
        ("Perturb(A) -> A:0 B:1", "Perturb(B) -> B:0 A:0"),
        ("Perturb(A) -> A:0 B:1", "Perturb(B) -> A:0"),
        ("Perturb(N0) -> " + " ".join(f"N{i}:0" for i in range(65)),),
    ],
)
def test_broken_observations(lines):
    assert judge(Causal(), lines, "Graph: A->B").verdict is Verdict.BAD_INPUT


def test_larger_sizes():
    sets = dataset(Causal(CausalConfig(nodes=5)), count=10)
    for one in sets:
        for key in one.admissible[:20]:
            assert judge(Causal(), one.observations, Causal().answer(key)).valid
            assert TestCausal().explains(key, one.observations)
    assert sum(len(keys) for _, keys in sets_of(nodes=5, k=1, max_edges=4)) == 5 * sum(
        count_dags(5)[:5]
    )
    assert len(dataset(Causal(CausalConfig(nodes=1, k=1)), count=2)) == 1


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="k = 5 of 4 nodes"):
        Causal(CausalConfig(k=5))
    with pytest.raises(InvalidInput, match="Choose fewer nodes"):
        dataset(Causal(CausalConfig(nodes=9)))
