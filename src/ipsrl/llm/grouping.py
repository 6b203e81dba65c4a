"""Groups of logged completions: the completions of one prompt at one step.

Rows may stand in any order.  Only the order tells several groups of one prompt at one step apart,
so there the size of a group must be given, and the rows must stand as they were logged.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from reprlib import repr as short
from typing import Any, NamedTuple

import numpy as np

from ipsrl.errors import InvalidInput


def group_numbers(
    prompts: Sequence[Any], steps: np.ndarray | None, group_size: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the prompt and of the group of each row.

    A group is the completions of a prompt at a step, wherever they stand; without steps, those of
    a prompt that follow one another.  Where there are more than `group_size` of them, they are cut
    into groups in the order in which they stand.  Prompts are numbered by their texts, and groups
    by step, prompt and order: where nothing is cut, the order of the rows changes no number.

    Args:
      prompts: texts or lists of messages [R].
      steps: whole numbers [R]; None if none were logged.
      group_size: completions of a group.
    Returns:
      numbers of the prompts [R] and of the groups [R], each from 0 on without gaps.
    Raises:
      InvalidInput: where completions of different groups cannot be distinguished; for groups of one
        completion; for a size that leaves a part of a group.
    """
    seen: dict[Hashable, int] = {}
    seen_R = np.array([seen.setdefault(prompt_key(prompt), len(seen)) for prompt in prompts])
    by_text = sorted(seen, key=lambda key: (isinstance(key, tuple), key))
    prompt_R = np.argsort([seen[key] for key in by_text])[seen_R]
    if steps is None:
        cell_R = np.cumsum(np.diff(prompt_R, prepend=prompt_R[:1]) != 0)
    else:
        step_R = np.unique(steps, return_inverse=True)[1]
        cell_R = np.unique(step_R * len(seen) + prompt_R, return_inverse=True)[1]
    cells = _Cells(prompts, steps, cell_R, np.bincount(cell_R))
    if group_size is None:
        _check_uncut(cells)
        return prompt_R, cell_R
    _check_cut(cells, group_size)
    order = np.argsort(cell_R, kind="stable")
    before_R = np.empty_like(cell_R)  # rows of the same cell that stand before
    before_R[order] = np.arange(len(order)) - np.searchsorted(cell_R[order], cell_R[order])
    part_R = before_R // group_size
    return prompt_R, np.unique(cell_R * (part_R.max() + 1) + part_R, return_inverse=True)[1]


def prompt_key(prompt: Any) -> Hashable:
    """A key that is equal for equal prompts: a text itself, messages as JSON."""
    if isinstance(prompt, str):
        return prompt
    try:
        return (json.dumps(prompt, sort_keys=True, default=str),)
    except RecursionError:
        raise InvalidInput(
            "a prompt nests too deep. Write a text, or a list of messages with role and content."
        ) from None


class _Cells(NamedTuple):
    """Completions of one prompt at one step; without steps, completions that follow one another."""

    prompts: Sequence[Any]
    steps: np.ndarray | None
    cell_R: np.ndarray
    size_C: np.ndarray

    def text(self, cell: int) -> str:
        row = int((self.cell_R == cell).argmax())
        where = f"from row {row} on" if self.steps is None else f"at step {self.steps[row]}"
        return f"the prompt {short(self.prompts[row])} has {self.size_C[cell]} completions {where}"


def _check_uncut(cells: _Cells) -> None:
    """Refuse cells that may not be one group each."""
    size_C = cells.size_C
    alone = int((size_C == 1).sum())
    commonest = int(np.bincount(size_C).argmax())
    if commonest == 1 or (cells.steps is None and alone):
        some = "each" if alone == len(size_C) else f"{alone}"
        raise InvalidInput(
            f"{some} of the {len(size_C)} groups {'has' if some in ('each', '1') else 'have'} one "
            "completion, which cannot be compared with others. "
            + (
                "Add the column step; or keep the completions of a prompt together, in the order "
                "in which they were logged."
                if cells.steps is None
                else "Log all completions of a prompt with the same step."
            )
        )
    if cells.steps is not None and (lone := _lone_steps(cells)):
        raise InvalidInput(
            f"at {len(lone)} steps, such as {lone[0]}, each prompt has one completion, which "
            "cannot be compared with others. Log all completions of a prompt with the same step, "
            "or leave out the rows of these steps."
        )
    for prompt in {id(prompt): prompt for prompt in cells.prompts}.values():
        if _lacks_image(prompt):
            raise InvalidInput(
                f"the prompt {short(prompt)} has an image that was not logged, so prompts that "
                "differ in the image only cannot be distinguished. Keep the rows in the order in "
                "which they were logged, and pass num_generations of the run as --group-size."
            )
    largest = int(size_C.argmax())
    if size_C[largest] >= 2 * commonest:
        raise InvalidInput(
            f"{cells.text(largest)}, and most others have {commonest}: they may be several groups, "
            f"which cannot be distinguished. Pass num_generations of the run, such as --group-size "
            f"{commonest}; or --group-size {size_C[largest]} if they are one group."
        )


def _lone_steps(cells: _Cells) -> list[int]:
    """Steps without a group of two, if there are many: a log that was cut off may end in one."""
    assert cells.steps is not None
    rows_C = np.unique(cells.cell_R, return_index=True)[1]
    steps_T, step_C = np.unique(cells.steps[rows_C], return_inverse=True)
    largest_T = np.zeros(len(steps_T), int)
    np.maximum.at(largest_T, step_C, cells.size_C)
    lone = steps_T[largest_T == 1].tolist()
    return lone if len(lone) > max(1, len(steps_T) / 10) else []


def _check_cut(cells: _Cells, group_size: int) -> None:
    """Refuse cells that cannot be cut into groups of this size."""
    size_C = cells.size_C
    most = group_size if cells.steps is None else size_C.max()
    if not 2 <= group_size <= most:
        raise InvalidInput(
            f"--group-size is {group_size}, but a group has at least 2 completions, and here at "
            f"most {size_C.max()}. Pass num_generations of the run."
        )
    # With steps, a smaller group has lost completions; without, it may be torn apart.
    cut_C = np.ones(len(size_C), bool) if cells.steps is None else size_C > group_size
    wrong_C = cut_C & (size_C % group_size != 0)
    if wrong_C.any():
        raise InvalidInput(
            f"{cells.text(int(wrong_C.argmax()))}, which cannot be cut into whole groups of "
            f"{group_size}. Pass num_generations of the run, and keep the rows in the order in "
            "which they were logged."
        )
    starts = np.flatnonzero(np.diff(cells.cell_R, prepend=-1))
    cell_S = cells.cell_R[starts]
    torn_S = cut_C[cell_S] & (np.diff(starts, append=len(cells.cell_R)) % group_size != 0)
    if torn_S.any():
        torn = int(cell_S[torn_S.argmax()])
        raise InvalidInput(
            f"{cells.text(torn)} with others between them, so groups of {group_size} cannot be "
            "distinguished. Put the rows in the order in which they were logged; or pass "
            f"--group-size {size_C[torn]} if they are one group."
        )


def _lacks_image(prompt: Any) -> bool:
    """True if messages refer to an image without its content, as TRL logs them."""
    return isinstance(prompt, list) and any(
        isinstance(block, dict)
        and block.get("type") == "image"
        and not any(value for name, value in block.items() if name != "type")
        for message in prompt
        if isinstance(message, dict) and isinstance(message.get("content"), list)
        for block in message["content"]
    )
