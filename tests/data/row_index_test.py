# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Seeking a step gives what reading up to it gives, and what was counted for it is kept."""

import hashlib
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flan_jax.core import files
from flan_jax.core.errors import UsageError
from flan_jax.data import row_index
from flan_jax.data.loader import TrainInput, open_train
from tests.data.batches import assert_equal

SIZES = {"a": 40, "b": 7, "c": 150, "d:x.1": 23}
RATES = {"a": 0.3, "b": 0.1, "c": 0.5, "d:x.1": 0.1}
NUM_ROWS = 48
WINDOW = 12


@pytest.fixture
def store(make_store):
    return make_store(SIZES, rates=RATES)


def config(store, **changes):
    defaults = {"store": str(store.path), "batch_size": 4, "window_examples": WINDOW}
    return TrainInput(**(defaults | changes))


def seek(settings, step, num, **hosts):
    """Batches from a step on, and the state and report after them."""
    with open_train(settings, step=step, **hosts) as batches:
        found = [next(batches) for _ in range(num)]
        return found, batches.state(), batches.report()["examples"]


def index_files(store):
    return sorted((store.path / row_index.FOLDER).iterdir())


@given(data=st.data())
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_step_sought_is_the_step_read(store, data):
    process_count = data.draw(st.sampled_from([1, 2, 4]))
    batch_size = process_count * data.draw(st.integers(1, 12 // process_count))
    step = data.draw(st.integers(0, NUM_ROWS // batch_size))
    pack = data.draw(st.booleans())
    process_index = data.draw(st.integers(0, process_count - 1))
    hosts = {"process_index": process_index, "process_count": process_count}
    chosen = config(store, batch_size=batch_size, pack=pack)
    with open_train(chosen, **hosts) as batches:
        for _ in range(step):
            next(batches)
        at_step = batches.state()
        expected = [next(batches) for _ in range(2)]
        after, examples = batches.state(), batches.report()["examples"]
    with open_train(chosen, step=step, **hosts) as batches:
        assert batches.state() == at_step
    found, state, seen = seek(chosen, step, 2, **hosts)
    assert_equal(found, expected)
    assert (state, seen) == (after, examples)


def test_what_was_counted_is_kept_for_any_batches_and_hosts(store, capsys):
    expected = seek(config(store), 200, 1)
    assert "find row" in capsys.readouterr().err
    (path,) = index_files(store)
    kept = path.read_bytes()
    assert_equal(seek(config(store), 200, 1)[0], expected[0])
    half = seek(config(store, batch_size=8), 100, 1, process_index=0, process_count=2)
    assert_equal(half[0], expected[0])
    seek(config(store), 7, 1)
    err = capsys.readouterr().err
    assert "find row" not in err and "row index" not in err and path.read_bytes() == kept
    seek(config(store), 400, 1)  # grows
    assert "find row: 1600/1600," in capsys.readouterr().err
    assert len(path.read_bytes()) > len(kept) and index_files(store) == [path]
    seek(config(store, seed=1), 1, 1)
    assert len(index_files(store)) == 2


def test_growing_in_pieces_gives_the_same_index(store, monkeypatch):
    monkeypatch.setattr(row_index, "_SAVE_EVERY", 3)
    for step in (1, 3, 50, 51, 170):
        seek(config(store), step, 1)
    (path,) = index_files(store)
    in_pieces = path.read_bytes()
    path.unlink()
    seek(config(store), 170, 1)
    assert path.read_bytes() == in_pieces


def another_packer(content):
    """An index whose hash is right and whose counts are not."""
    kept = json.loads(content.partition(b"\n")[2])
    kept["num_rows"] = [num + 1 for num in kept["num_rows"]]
    body = files.dumps(kept).encode()
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        pytest.param(lambda content: content[:-9], "is damaged", id="cut"),
        pytest.param(lambda content: content.replace(b"1", b"2"), "is damaged", id="changed"),
        pytest.param(lambda content: b"", "is damaged", id="empty"),
        pytest.param(lambda content: b"\xff\x00" * 99, "is damaged", id="foreign"),
        pytest.param(another_packer, "counts other rows than there are", id="another packer"),
    ],
)
def test_an_index_that_is_wrong_is_said_and_counted_again(store, capsys, damage, told):
    expected, state, _ = seek(config(store), 90, 1)
    (path,) = index_files(store)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    found, again, _ = seek(config(store), 90, 1)
    assert f"{path}: it {told}" in capsys.readouterr().err
    assert_equal(found, expected)
    assert state == again and path.read_bytes() == whole


def test_a_store_that_cannot_be_written_is_searched_all_the_same(store, capsys):
    expected, _, _ = seek(config(store), 30, 1)
    (path,) = index_files(store)
    path.unlink()
    path.parent.rmdir()
    path.parent.write_text("in the way")
    assert_equal(seek(config(store), 30, 1)[0], expected)
    assert f"{path}: cannot be written" in capsys.readouterr().err


def test_a_place_is_a_step_or_a_state(store):
    with open_train(config(store)) as batches:
        state = batches.state()
    with pytest.raises(UsageError, match="a state of the input or step 3, not both"):
        open_train(config(store), state, step=3)
    with pytest.raises(UsageError, match="rows begins at 0, got row -4"):
        open_train(config(store), step=-1)
    with pytest.raises(UsageError, match=f"row {2**60} is beyond"):
        open_train(config(store), step=2**58)
