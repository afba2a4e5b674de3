"""Every malformed input of the corpus is answered by one sentence; none runs code, or changes what is there."""

import pytest

from ohlora_gan.errors import one_line, sentence
from tests.malformed import Case, corpus

CORPUS = corpus()
RIGHTLY_READ = {"made_from: missing"}  # a run of before has none


def test_the_corpus_is_large():
    assert len(CORPUS) >= 300


@pytest.mark.parametrize("what", [name for name in CORPUS if name not in RIGHTLY_READ])
def test_malformed_input_is_answered_in_a_sentence(tmp_path, monkeypatch, what):
    case: Case = CORPUS[what]
    path = tmp_path / case.name
    path.parent.mkdir(exist_ok=True)
    if case.content is not None:
        path.write_bytes(case.content if isinstance(case.content, bytes) else case.content())
    before = path.read_bytes() if path.exists() else None
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Exception) as error:  # noqa: PT011 (`sentence` says which)
        case.read(path)
    said = sentence(error.value)
    assert said, repr(error.value)
    assert len(one_line(said)) < 1000
    assert not (tmp_path / "RAN").exists()
    assert (path.read_bytes() if path.exists() else None) == before
