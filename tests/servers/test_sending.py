"""An embedding that is sent to the processes of a pool, with the real model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.servers import documented
from tests.servers.serving import TOLERANCE, Service

if TYPE_CHECKING:
    from tests.servers.driving import Trial

pytestmark = [pytest.mark.servers, pytest.mark.onnx]

_SENT = """
import json, sys
import numpy as np
import sending

with np.load("vectors.npz") as stored:
    texts, expected = stored["texts"].tolist(), stored["vectors"]
found = sending.embed_all([[text] for text in texts], sys.argv[1])
print(json.dumps([float(np.abs(vectors - expected[row]).max()) for row, vectors in enumerate(found)]))
"""


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_an_embedding_in_a_pool(method: str, trial: Trial) -> None:
    documented.write(trial.surroundings.place, "sending.py")
    np.savez(
        trial.surroundings.place / "vectors.npz",
        texts=np.array(trial.golden.texts[:20]),
        vectors=trial.golden.vectors[:20],
    )
    with Service(["-W", "ignore::DeprecationWarning", "-c", _SENT, method], trial.surroundings) as service:
        assert service.process.wait(120) == 0, service.log()
    distances = json.loads(service.log().splitlines()[-1])
    assert len(distances) == 20
    assert max(distances) < TOLERANCE
    assert trial.surroundings.connections()[1] == []
