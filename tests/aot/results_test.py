# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Nothing is compiled twice, what changes a result is compiled again, and reports read well."""

import dataclasses

import pytest

from flan_jax.aot import compiling, results
from flan_jax.core import errors, files
from flan_jax.parallel.mesh import MeshShape
from tests.aot.cases import report_of, tiny_case, with_model


class Counting:
    """Makes up reports, and counts."""

    def __init__(self):
        self.cases = []

    def __call__(self, case, *, effort):
        self.cases.append((case, effort))
        return report_of(case, effort, gib=3)


def test_a_report_is_kept_and_read_again(tmp_path):
    path, compile_step = str(tmp_path / "kept.json"), Counting()
    first = results.Results(path, compile_step).run(tiny_case(), "quick")
    again = results.Results(path, compile_step).run(tiny_case(), "quick")
    assert again == first and len(compile_step.cases) == 1
    kept = results.Results(path, compile_step)
    kept.run(tiny_case(rules="fsdp"), "quick")
    assert len(files.read_json(path)) == 2
    kept.keep_only([results.key(tiny_case(), "quick")])
    assert list(files.read_json(path)) == [results.key(tiny_case(), "quick")]


def test_what_decides_a_result_is_in_its_key():
    case = tiny_case()
    others = [
        tiny_case("v4-16"),
        tiny_case(num_slices=2),
        tiny_case(rules="fsdp"),
        tiny_case(mesh=MeshShape(model=2)),
        tiny_case(num_microbatches=2),
        with_model(case, remat_policy="full"),
        with_model(case, dropout_rate=0.0),
        dataclasses.replace(case, data=dataclasses.replace(case.data, batch_size=32)),
    ]
    keys = {results.key(c, "quick") for c in [case, *others]} | {results.key(case, "default")}
    assert len(keys) == len(others) + 2
    same = dataclasses.replace(
        case, name="other", config=dataclasses.replace(case.config, model_dir="elsewhere")
    )
    assert results.key(same, "quick") == results.key(case, "quick")


def test_another_version_of_the_compiler_is_another_result(monkeypatch):
    before = results.key(tiny_case(), "quick")
    monkeypatch.setattr(compiling, "versions", lambda: {"libtpu": "9"})
    assert results.key(tiny_case(), "quick") != before


@pytest.mark.parametrize("text", ['{"a": 1}', "[]", '{"a": {"fits": true}}'])
def test_a_file_of_something_else_is_refused(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(errors.DataError, match="other.json holds no results"):
        results.Results(str(path), Counting())


def test_the_text_of_a_report():
    text = results.shown(
        report_of(tiny_case(mesh=MeshShape(model=2)), "quick", gib=3), "tiny on v5litepod-8"
    )
    assert text.splitlines()[0] == "tiny on v5litepod-8"
    assert "8, mesh slice 1 x data 4 x model 2, rules replicated, remat none" in text
    assert "yes: 3.00 GiB a device at its peak, 19% of 15.75 GiB" in text
    assert "all-reduce" in text and "nothing was timed" in text
    refused = results.shown(report_of(tiny_case(), "quick", gib=24), "tiny")
    assert "no: 24.00 GiB or more needed a device, 15.75 GiB there" in refused
    assert "nothing was timed" not in refused
