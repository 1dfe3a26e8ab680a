# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Scores of parameters that lie over two real processes: each process has all of them.

Run as a program this file is one process of a job.
"""

import dataclasses
import json
import sys
from pathlib import Path

import jax
import pytest

from flan_jax.inference.scoring import Scorer
from flan_jax.parallel import arrays, hosts, rules
from flan_jax.parallel.mesh import MeshShape, make_mesh
from tests import host_processes
from tests.inference import scoring_test, tiny_models


def host(out):
    """Scores as one process of a job, and writes down what it got."""
    hosts.join()
    model = dataclasses.replace(tiny_models.MODELS["t5"], rules=rules.FSDP_TENSOR)
    params, mesh = scoring_test._params_of("t5"), make_mesh(MeshShape(model=2))
    shardings = arrays.params_sharding(params, model.logical_axes(), model.rules, mesh)
    with jax.set_mesh(mesh):
        sharded = jax.tree.map(
            lambda whole, sharding: jax.make_array_from_callback(
                whole.shape, sharding, lambda index: whole[index]
            ),
            params,
            shardings,
        )
        scorer = Scorer(model, sharded, max_input_length=16, num_rows=8)
        scores = scorer.score(*scoring_test._texts())
    logprobs = [[score.token_logprobs.tolist() for score in row] for row in scores]
    Path(f"{out}.{jax.process_index()}").write_text(json.dumps(logprobs))


@pytest.mark.large  # two Python processes that import jax and compile
def test_two_processes_each_have_all_scores(tmp_path):
    words = ["tests.inference.scoring_hosts_test", str(tmp_path / "scores")]
    host_processes.run(words, 2, tmp_path / "log")
    first, second = (json.loads((tmp_path / f"scores.{i}").read_text()) for i in (0, 1))
    assert first == second
    _, _, want = scoring_test._scored("t5")
    for row, want_row in zip(first, want, strict=True):
        for logprobs, score in zip(row, want_row, strict=True):
            assert logprobs == pytest.approx(score.token_logprobs.tolist(), rel=1e-5, abs=1e-5)


if __name__ == "__main__":
    host(*sys.argv[1:])
