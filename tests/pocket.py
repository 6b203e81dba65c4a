"""A receptor for the tests of docking that need no real one."""

import itertools

CORNERS = itertools.product((-1, 1), repeat=3)
AXES = [(s * (i == 0), s * (i == 1), s * (i == 2)) for i in range(3) for s in (-1, 1)]
LINE = "ATOM  {:5}  {:<3} ALA A{:4}    {:8.3f}{:8.3f}{:8.3f}  1.00  0.00    +0.000 {:<2}"
POCKET = "".join(
    LINE.format(i, kind[0], i, *(radius * x for x in place), kind) + "\n"
    for i, (kind, radius, place) in enumerate(
        [
            *(("C", 3.2, place) for place in CORNERS),  # 5.5 A from the middle
            *(("OA", 5.5, place) for place in AXES),
        ],
        1,
    )
)
"""14 atoms on a sphere of 5.5 A around the origin: carbon in the corners, oxygen on the axes."""
