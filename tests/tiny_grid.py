"""A run on a grid that takes a second."""

TINY = [
    "--side", "3", "--policy", "tabular", "--group-size", "4", "--batch", "4", "--seeds", "1",
    "--iterations", "2", "--eval-every", "1", "--checkpoint-every", "1",
]  # fmt: skip


def files(directory):
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
