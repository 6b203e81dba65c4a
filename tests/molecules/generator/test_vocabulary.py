"""A SMILES survives its tokens, and a library reads them as we do."""

import gzip

import pytest
from helpers import SHARED
from tokenizers import Tokenizer

from ipsrl.errors import InvalidInput
from ipsrl.molecules.generator.vocabulary import Vocabulary, tokenize


def shared_smiles(name: str) -> list[str]:
    path = SHARED / "data" / "chem" / name
    if not path.is_file():
        pytest.skip(f"{path} is not here; IPSRL_SHARED names the folder of shared data")
    return gzip.decompress(path.read_bytes()).decode().split()


def test_tokens_by_hand():
    text = "C[C@@H](Cl)c1cc%12BrBB[nH]B"
    found = ["C", "[C@@H]", "(", "Cl", ")", "c", "1", "c", "c", "%12", "Br", "B", "B", "[nH]", "B"]
    assert tokenize(text) == found


# Sizes: ../shared/data/chem/README.md, START and END included.
@pytest.mark.parametrize(("name", "tokens"), [("zinc250k.smi.gz", 64), ("chembl_78k.smi.gz", 34)])
def test_round_trip_of_a_corpus(name, tokens):
    smiles = shared_smiles(name)
    vocabulary = Vocabulary.of(smiles)
    assert len(vocabulary) == tokens
    assert all(vocabulary.decode(vocabulary.encode(text)) == text for text in smiles)


def test_the_library_reads_the_file_as_we_do(tmp_path):
    smiles = ["CCO", "c1cc[nH]c1", "ClC(Br)%10CC%10", "[13CH3]C#N"]
    vocabulary = Vocabulary.of(smiles)
    vocabulary.save(tmp_path / "tokenizer.json")
    theirs = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    longest = max(len(vocabulary.encode(text)) for text in smiles)
    for text, row in zip(smiles, theirs.encode_batch(smiles), strict=True):
        ids = vocabulary.encode(text)
        assert row.ids == ids + [0] * (longest - len(ids))
        assert theirs.decode(row.ids) == text
    assert Vocabulary.load(tmp_path / "tokenizer.json").tokens == vocabulary.tokens


def test_decoding_stops_at_the_end():
    vocabulary = Vocabulary(["C", "O"])
    assert vocabulary.decode([1, 2, 3, 0, 2, 2]) == "CO"
    assert vocabulary.decode([]) == ""


def test_unknown_tokens_are_named():
    vocabulary = Vocabulary(["C", "O"])
    with pytest.raises(InvalidInput, match=r"has the tokens \['N', '\$'\]"):
        vocabulary.encode("CNO$")


@pytest.mark.parametrize("tokens", [["C", "C"], ["^"], ["C", "$"]])
def test_tokens_come_once(tokens):
    with pytest.raises(InvalidInput, match="names a token twice"):
        Vocabulary(tokens)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"model": {"vocab": {"C": 0}}}', b'{"model": 3}', b"\xff",
                b'{"model": {"vocab": {"$": 0, "^": 1, "C": 3}}}'],
)  # fmt: skip
def test_a_file_that_is_no_vocabulary(tmp_path, content):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(InvalidInput, match="is not a vocabulary"):
        Vocabulary.load(tmp_path / "tokenizer.json")
