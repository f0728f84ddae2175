from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

from bench.agreement import smallest_cosine
from bench.environments import PEERS
from bench.measure import turns
from bench.subjects import MINI, REFERENCE, SUBJECTS, SYNTHETIC, Places, subjects_of, task_of
from bench.synthetic import PIECES, pieces
from bench.worker import _LOADERS

ROOT = Path(__file__).parents[2]


def test_names_are_unique_and_every_model_has_its_reference() -> None:
    assert len({subject.name for subject in SUBJECTS}) == len(SUBJECTS)
    for model in (MINI, SYNTHETIC):
        assert subjects_of(model)[0].way == REFERENCE


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_every_subject_has_a_loader_and_an_environment(subject: object) -> None:
    (found,) = [one for one in SUBJECTS if one is subject]
    assert found.environment in {"main", *PEERS}
    task = task_of(found, Places(work=Path("/somewhere")), 2)
    assert task["loader"] in _LOADERS
    assert task["path"].startswith("/somewhere/")


def test_each_subject_begins_a_repetition_once() -> None:
    subjects = subjects_of(MINI)
    rounds = [turns(subjects, repetition) for repetition in range(len(subjects))]
    assert {one[0].name for one in rounds} == {subject.name for subject in subjects}
    assert all(sorted(s.name for s in one) == sorted(s.name for s in subjects) for one in rounds)


def test_peers_use_the_releases_of_the_constraints_where_both_name_one() -> None:
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE))
    named = [requirement.split("==") for peer in PEERS.values() for requirement in peer.requirements]
    differing = {
        name.partition("[")[0] for name, version in named if pins.get(name.partition("[")[0], version) != version
    }
    # optimum-intel does not take the newest one.
    assert differing <= {"transformers"}


def test_the_synthetic_vocabulary_has_the_size_of_the_real_one_and_no_piece_twice() -> None:
    found = pieces()
    assert len(found) == len(dict(found)) == PIECES
    assert [piece for piece, _ in found[:4]] == ["<s>", "<pad>", "</s>", "<unk>"]
    assert found[-1][0] == "<mask>"
    scores = [score for _, score in found[4:-1]]
    assert all(left > right for left, right in itertools.pairwise(scores))


def test_the_synthetic_vocabulary_is_the_same_every_time() -> None:
    assert pieces(5000) == pieces(5000)


def test_the_smallest_cosine_is_that_of_the_worst_pair() -> None:
    reference = np.array([[1, 0], [0, 2]], dtype=np.float32)
    assert smallest_cosine(reference, reference * 3) == pytest.approx(1)
    assert smallest_cosine(reference, np.array([[1, 0], [1, 1]], dtype=np.float32)) == pytest.approx(0.5**0.5)
    with pytest.raises(ValueError, match="expected vectors of shape"):
        smallest_cosine(reference, reference[:1])
