# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Scores and answers of parameters that lie over two real processes: each process has all of them.

Run as a program this file is one process of a job.
"""

import dataclasses
import json
import sys
from pathlib import Path

import jax
import pytest

from flan_jax.inference import lane
from flan_jax.inference.decode_config import DecodeConfig
from flan_jax.inference.engine import Engine
from flan_jax.inference.scoring import Scorer
from flan_jax.parallel import arrays, hosts, rules
from flan_jax.parallel.mesh import MeshShape, make_mesh
from tests import host_processes
from tests.inference import scoring_test
from tests.inference.tiny_models import MODELS, Letters, params_of, prompts_of

PROMPTS = prompts_of((3, 12, 1, 5, 7, 2))
CONFIG = DecodeConfig(max_length=12, temperature=1.0, num_samples=2, stop=("bC", "e"))


def _spread(params, model, mesh):
    """Returns parameters over the devices of all processes."""
    shardings = arrays.params_sharding(params, model.logical_axes(), model.rules, mesh)
    return jax.tree.map(
        lambda whole, sharding: jax.make_array_from_callback(
            whole.shape, sharding, lambda index: whole[index]
        ),
        params,
        shardings,
    )


def _answers(model, params):
    """Returns the texts of two samples each: rows are refilled, and get more room."""
    engine = Engine(model, params, Letters(-1), max_input_length=12, num_rows=8)
    return [answer.texts for answer in engine.generate(PROMPTS, CONFIG)]


def host(out):
    """Scores and answers as one process of a job, and writes down what it got."""
    hosts.join()
    lane.FIRST_SLOTS = 8
    model = dataclasses.replace(MODELS["t5"], rules=rules.FSDP_TENSOR)
    mesh = make_mesh(MeshShape(model=2))
    with jax.set_mesh(mesh):
        sharded = _spread(scoring_test._params_of("t5"), model, mesh)
        scorer = Scorer(model, sharded, max_input_length=16, num_rows=8)
        scores = scorer.score(*scoring_test._texts())
        texts = _answers(model, _spread(params_of("t5"), model, mesh))
    logprobs = [[score.token_logprobs.tolist() for score in row] for row in scores]
    Path(f"{out}.{jax.process_index()}").write_text(json.dumps([logprobs, texts]))


@pytest.mark.large  # two Python processes that import jax and compile
def test_two_processes_each_have_all_scores_and_answers(tmp_path):
    words = ["tests.inference.hosts_test", str(tmp_path / "found")]
    host_processes.run(words, 2, tmp_path / "log")
    first, second = (json.loads((tmp_path / f"found.{i}").read_text()) for i in (0, 1))
    assert first == second
    _, _, want = scoring_test._scored("t5")
    for row, want_row in zip(first[0], want, strict=True):
        for logprobs, score in zip(row, want_row, strict=True):
            assert logprobs == pytest.approx(score.token_logprobs.tolist(), rel=1e-5, abs=1e-5)
    assert [tuple(texts) for texts in first[1]] == _answers(MODELS["t5"], params_of("t5"))


if __name__ == "__main__":
    host(*sys.argv[1:])
