# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A job is named for a cloud, and its buckets are where every host mounts them."""

import pytest

from flan_jax.core import errors
from flan_jax.launching import job


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gs://runs/xl", "/gcs/runs/xl"),
        ("gs://runs", "/gcs/runs"),
        ("--gin.STORE_DIR='gs://a.b-c/d e'", "--gin.STORE_DIR='/gcs/a.b-c/d e'"),
        ("f(['gs://one/x', 'gs://two'])", "f(['/gcs/one/x', '/gcs/two'])"),
        ("plain/folder", "plain/folder"),
    ],
)
def test_buckets_are_named_as_mounted(text, expected):
    assert job.mounted(text) == expected


@pytest.mark.parametrize("text", ["gs://", "gs:///xl", "gs://Runs/xl", "gs://a b/c", "gs://ab/c"])
def test_a_malformed_bucket_is_refused(text):
    with pytest.raises(errors.UsageError, match="names no bucket; write gs://BUCKET/PATH"):
        job.mounted(text)


def test_every_bucket_is_found_once():
    texts = ["--gin.MODEL_DIR=/gcs/runs/xl", "--gin.A=('/gcs/data/s', '/gcs/runs')", "no/gcs/x/y"]
    assert job.buckets(texts) == ("data", "runs")


@pytest.mark.parametrize("path", ["/gcs/runs/xl", "/gcs/runs"])
def test_a_mounted_path_has_its_name_in_the_bucket(path):
    assert job.mounted(job.in_bucket(path)) == path
    assert job.is_mounted(path)


@pytest.mark.parametrize("path", ["runs/xl", "/gcsruns/xl", "/data/gcs/runs/xl"])
def test_other_paths_stay(path):
    assert job.in_bucket(path) == path
    assert not job.is_mounted(path)


@pytest.mark.parametrize(
    ("bindings", "expected"),
    [
        ([], ""),
        (["SEED=1"], ""),
        (["MODEL_DIR=gs://runs/xl/"], "/gcs/runs/xl"),
        (["MODEL_DIR = 'runs/a'", "MODEL_DIR='runs/b'"], "runs/b"),
    ],
)
def test_the_last_model_dir_counts(bindings, expected):
    assert job.model_dir(bindings) == expected


@pytest.mark.parametrize("name", ["xl", "a", "flan-t5-xl-2", "a" * 40])
def test_a_dns_label_is_a_name(name):
    assert job.check_name(name) == name


@pytest.mark.parametrize("name", ["", "XL", "2xl", "xl-", "a_b", "a.b", "a" * 41, "a\n"])
def test_another_name_is_refused(name):
    with pytest.raises(errors.UsageError, match="begin with a letter"):
        job.check_name(name)


def test_a_job_is_called_after_its_folder():
    assert job.name_of("/gcs/runs/Flan_T5__XL.2") == "flan-t5-xl-2"
    with pytest.raises(errors.UsageError, match="'/gcs/runs/2026'; give --name"):
        job.name_of("/gcs/runs/2026")


def test_the_compile_cache_lies_in_the_bucket_of_model_dir_unless_told():
    cache = job.COMPILE_CACHE
    assert job.environment([], None, "/gcs/runs/xl") == {cache: "/gcs/runs/compile_cache"}
    assert job.environment([], None, "runs/xl") == {}
    assert job.environment([], "none", "/gcs/runs/xl") == {}
    assert job.environment([], "gs://ccc/d", "runs/xl") == {cache: "/gcs/ccc/d"}
    assert job.environment(["A=b=c", f"{cache}=/x"], None, "/gcs/runs/xl") == {
        "A": "b=c",
        cache: "/x",
    }


@pytest.mark.parametrize("pair", ["A", "=b", "A B=c", "2=x"])
def test_a_malformed_variable_is_refused(pair):
    with pytest.raises(errors.UsageError, match="write --env NAME=VALUE"):
        job.environment([pair], None, "runs/xl")


def test_arguments_of_train():
    found = job.train_arguments(
        recipe="mini",
        gin_files=["a.gin", "gs://runs/b.gin"],
        gin_search_paths=["gs://runs/gin", "x"],
        gin_bindings=["MODEL_DIR=gs://runs/xl", "A=it's"],
    )
    assert found == (
        "--recipe=mini",
        "--gin_file=a.gin",
        "--gin_file=/gcs/runs/b.gin",
        "--gin_search_paths=/gcs/runs/gin,x",
        "--gin.MODEL_DIR=/gcs/runs/xl",
        "--gin.A=it's",
    )
