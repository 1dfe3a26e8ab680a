# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""T5X's checkpoints: read from files made by hand, written as T5X reads them, damage named."""

import http.server
import json
import shutil
import threading
import urllib.parse

import flax.serialization
import numpy as np
import pytest

from flan_jax.convert import t5x
from flan_jax.convert.leaves import Arrays
from flan_jax.core.errors import FlanError, UsageError
from tests.convert.t5x_files import BFLOAT16, pack, write_checkpoint

KERNEL = "encoder/layers_0/mlp/wo/kernel"
STATE = f"param_states/{KERNEL}"


def make_arrays(dtype=np.float32):
    """Returns parameters and Adafactor's state: square, odd, one-dimensional, stacked."""
    rng = np.random.default_rng(0)
    return {
        f"target/{KERNEL}": rng.standard_normal((5, 7)).astype(dtype),
        "target/encoder/encoder_norm/scale": rng.standard_normal(5).astype(dtype),
        "target/decoder/layers/mlp/wi/kernel": rng.standard_normal((4, 3, 6)).astype(dtype),
        "target/decoder/logits_dense/kernel": rng.standard_normal((6, 2)).astype(dtype),
        "target/zeros": np.zeros((3, 2), dtype),
        f"state/{STATE}/v_row": rng.standard_normal(5).astype(np.float32),
        f"state/{STATE}/v_col": rng.standard_normal(7).astype(np.float32),
        f"state/{STATE}/v": np.zeros(1, np.float32),
        f"state/{STATE}/m": np.zeros(1, np.float32),
    }


def assert_holds(checkpoint, arrays):
    told = {f"target/{n}": s for n, s in checkpoint.params.shapes.items()}
    told |= {f"state/{n}": s for n, s in checkpoint.state.shapes.items()}
    assert {n: (s.shape, s.dtype) for n, s in told.items()} == {
        n: (a.shape, a.dtype) for n, a in arrays.items()
    }
    for name, array in arrays.items():
        root, _, rest = name.partition("/")
        leaves = checkpoint.params if root == "target" else checkpoint.state
        got = leaves.read(rest)
        assert got.dtype == array.dtype
        np.testing.assert_array_equal(got.view(np.uint8), array.view(np.uint8))
        part = tuple(slice(size // 3, size - size // 4) for size in array.shape)
        np.testing.assert_array_equal(leaves.read(rest, part), array[part])


@pytest.mark.parametrize("dtype", [np.float32, BFLOAT16])
@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_each_version_and_dtype_is_read(tmp_path, version, dtype):
    arrays = make_arrays(dtype)
    inside = {"target/encoder/encoder_norm/scale", f"state/{STATE}/m"}
    folder = write_checkpoint(
        tmp_path / "checkpoint_1000", arrays, version=version, inside=inside, bucket=version < 2,
        path_beside=version == 2,
    )  # fmt: skip
    for path in (folder, folder / "checkpoint", tmp_path):
        checkpoint = t5x.open_checkpoint(path)
        assert (checkpoint.version, checkpoint.step) == (version, 1000)
        assert checkpoint.path == str(folder)
        assert_holds(checkpoint, arrays)


def test_an_array_in_parts_and_none_are_read(tmp_path):
    parts = {"0": np.arange(4.0), "1": np.arange(4.0, 6.0)}
    whole = {"__msgpack_chunked_array__": True, "shape": {"0": 2, "1": 3}, "chunks": parts}
    optimizer = {"target": {"a": whole}, "state": {"step": 7, "param_states": {"a": None}}}
    (tmp_path / "checkpoint").write_bytes(pack({"version": 3, "optimizer": optimizer}))
    checkpoint = t5x.open_checkpoint(tmp_path)
    np.testing.assert_array_equal(checkpoint.params.read("a"), np.arange(6.0).reshape(2, 3))
    assert checkpoint.step == 7 and checkpoint.state.shapes == {}


def test_reading_a_part_touches_its_chunks_only(tmp_path):
    arrays = make_arrays()
    folder = write_checkpoint(tmp_path / "c", arrays)
    (folder / f"target.{KERNEL.replace('/', '.')}" / "1.1").write_bytes(b"damaged")
    params = t5x.open_checkpoint(folder).params
    first = (slice(0, 2), slice(None))
    np.testing.assert_array_equal(params.read(KERNEL, first), arrays[f"target/{KERNEL}"][first])
    with pytest.raises(FlanError):
        params.read(KERNEL)


@pytest.mark.parametrize("with_state", [False, True])
def test_what_is_written_reads_back_bit_equal(tmp_path, with_state, monkeypatch):
    monkeypatch.setattr(t5x, "CHUNK_SIZE_BYTES", 64)
    arrays = make_arrays(BFLOAT16)
    source = t5x.open_checkpoint(write_checkpoint(tmp_path / "source", arrays))
    out = tmp_path / "runs" / "checkpoint_1000"
    state = source.state if with_state else None
    t5x.write(out, source.params, step=source.step, state=state)
    if not with_state:
        arrays = {n: a for n, a in arrays.items() if n.startswith("target/")}
    checkpoint = t5x.open_checkpoint(out)
    assert (checkpoint.version, checkpoint.step) == (3, 1000)
    assert_holds(checkpoint, arrays)
    assert len(list(out.glob("target.decoder.layers.mlp.wi.kernel/[0-9]*"))) == 4  # 144 / 64, even
    assert [p.name for p in out.parent.iterdir()] == ["checkpoint_1000"]


def test_the_msgpack_is_what_flax_reads(tmp_path):
    """T5X reads the file with flax.serialization and each specification with TensorStore."""
    kernel = np.arange(6, dtype=np.float32).reshape(2, 3)
    t5x.write(tmp_path / "c", Arrays({"a/kernel": kernel, "b": np.array(2, np.float32)}), step=9)
    content = flax.serialization.msgpack_restore((tmp_path / "c" / "checkpoint").read_bytes())
    assert content == {
        "version": 3,
        "optimizer": {
            "state": {"step": np.int32(9), "param_states": {}},
            "target": {
                "a": {
                    "kernel": {
                        "driver": "zarr",
                        "dtype": "float32",
                        "kvstore": {"driver": "file", "path": "target.a.kernel/"},
                        "metadata": {
                            "chunks": [2, 3],
                            "compressor": {"id": "gzip", "level": 1},
                            "shape": [2, 3],
                        },
                    }
                },
                "b": np.float32(2),
            },
        },
    }
    zarray = json.loads((tmp_path / "c" / "target.a.kernel" / ".zarray").read_text())
    assert zarray["dtype"] == "<f4" and zarray["compressor"]["id"] == "gzip"


def test_a_failed_write_leaves_nothing(tmp_path):
    class Failing(Arrays):
        def read(self, name, index=None):
            if name == "b":
                raise FlanError("the source is damaged")
            return super().read(name, index)

    leaves = Failing({"a": np.ones((2, 2)), "b": np.ones(2)})
    with pytest.raises(FlanError, match="the source is damaged"):
        t5x.write(tmp_path / "c", leaves, step=1)
    assert list(tmp_path.iterdir()) == []
    t5x.write(tmp_path / "c", Arrays({"a": np.ones(2)}), step=1)
    with pytest.raises(UsageError, match="not empty"):
        t5x.write(tmp_path / "c", Arrays({"a": np.ones(2)}), step=1)
    with pytest.raises(UsageError, match="gs://b/c is not a local folder"):
        t5x.write("gs://b/c", leaves, step=1)


def damaged(tmp_path, damage):
    folder = write_checkpoint(tmp_path / "checkpoint_5", make_arrays())
    damage(folder, folder / f"target.{KERNEL.replace('/', '.')}")
    return folder


def truncate_chunk(folder, place):
    chunk = place / "0.1"
    chunk.write_bytes(chunk.read_bytes()[:-20])


def truncate_plain_chunk(folder, place):
    chunk = folder / "target.encoder.encoder_norm.scale" / "1"
    chunk.write_bytes(chunk.read_bytes()[:-1])


def other_shape(folder, place):
    text = (place / ".zarray").read_text()
    (place / ".zarray").write_text(text.replace("[5, 7]", "[5, 9]"))


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (truncate_chunk, rf"target\.encoder.*: target/{KERNEL} cannot be read \(.*0\.1"),
        (truncate_plain_chunk, r"target/encoder/encoder_norm/scale cannot be read \("),
        (
            lambda folder, place: shutil.rmtree(place),
            rf"checkpoint_5: target/{KERNEL} is missing, there is no zarr array in target\.enc",
        ),
        (
            lambda folder, place: (place / "0.1").unlink(),
            rf"target/{KERNEL} cannot be read \(1 of 4 chunks are missing\)",
        ),
        (other_shape, r"it is float32\[5, 9\] but checkpoint says float32\[5, 7\]"),
        (
            lambda folder, place: (place / ".zarray").write_text("{"),
            rf"target/{KERNEL} cannot be read",
        ),
    ],
)
def test_damage_is_one_line_with_file_and_leaf(tmp_path, damage, text):
    params = t5x.open_checkpoint(damaged(tmp_path, damage)).params
    with pytest.raises(FlanError, match=text) as caught:
        for name in params.shapes:
            params.read(name)
    assert "\n" not in str(caught.value) and "copy the checkpoint again" in str(caught.value)


def test_a_chunk_of_the_state_that_is_not_stored_is_told_of(tmp_path, capfd):
    """It may be zeros; a parameter's is missing."""
    place = f"state.{STATE.replace('/', '.')}.v_row"
    folder = damaged(tmp_path, lambda folder, _: (folder / place / "1").unlink())
    assert not t5x.open_checkpoint(folder).state.read(f"{STATE}/v_row")[3:].any()
    assert f"1 of 2 chunks of state/{STATE}/v_row are not stored" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (pack({"version": 3, "optimizer": {"target": {}}})[:-3], "is damaged or no msgpack"),
        (b"", "is damaged or no msgpack"),
        (b"model_checkpoint_path: \"model.ckpt-1\"", "is a TensorFlow checkpoint"),
        (pack([1, 2]), "holds no dict"),
        (pack({"version": 4, "optimizer": {}}), "is of version 4; versions 0 to 3 are known"),
        (pack({"params": {}}), r"no parameters \('optimizer/target'\), only \['params'\]"),
    ],
)  # fmt: skip
def test_another_file_is_refused(tmp_path, content, text):
    (tmp_path / "checkpoint").write_bytes(content)
    with pytest.raises(FlanError, match=text):
        t5x.open_checkpoint(tmp_path)


def entry(place, **changes):
    """Returns what a msgpack says of an array."""
    spec = {"driver": "zarr", "dtype": "float32", "kvstore": {"driver": "file", "path": place}}
    return spec | {"metadata": {"shape": [2], "chunks": [2]}} | changes


@pytest.mark.parametrize(
    ("target", "state", "text"),
    [
        ({"a": "text"}, {"step": 0}, r"checkpoint: target/a is 'text', no array"),
        ({"a": [1, [2]]}, {"step": 0}, r"checkpoint: target/a is \[1, \[2\]\], no array"),
        ({"a/b": np.ones(2)}, {"step": 0}, "'target/a/b' is no name of a parameter"),
        ({"a.b": np.ones(2)}, {"step": 0}, "'target/a.b' is no name of a parameter"),
        ({"": np.ones(2)}, {"step": 0}, "'target/' is no name of a parameter"),
        ({"a": np.ones(2)}, {"step": np.float32(1.5)}, "step is 1.5, no whole number"),
        ({"a": np.ones(2)}, {"step": entry("b")}, "step is {'driver': .*, no whole number"),
        ({"a": entry("b", metadata={"shape": [-1]})}, {"step": 0}, "gives no shape and dtype"),
        ({"a": entry("b", dtype="object")}, {"step": 0}, "gives no shape and dtype"),
        ({"a": entry("b", kvstore="gs://x/y")}, {"step": 0}, "names no zarr array beside it"),
    ],
)
def test_an_entry_that_makes_no_sense_is_one_clear_line(tmp_path, target, state, text):
    content = {"version": 3, "optimizer": {"target": target, "state": state}}
    (tmp_path / "checkpoint").write_bytes(pack(content))
    with pytest.raises(FlanError, match=text) as caught:
        params = t5x.open_checkpoint(tmp_path).params
        for name in params.shapes:
            params.read(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["../elsewhere", "", "/../x", 5])
def test_an_array_outside_the_folder_is_refused(tmp_path, path):
    content = {"version": 3, "optimizer": {"target": {"a": entry(path)}, "state": {"step": 0}}}
    (tmp_path / "checkpoint").write_bytes(pack(content))
    with pytest.raises(FlanError, match="the entry of target/a names no zarr array beside it"):
        t5x.open_checkpoint(tmp_path).params.read("a")


def test_other_kinds_are_told_apart(tmp_path):
    assert t5x.find(tmp_path) is None
    with pytest.raises(UsageError, match="no T5X checkpoint at .*give a checkpoint_<step> folder"):
        t5x.open_checkpoint(tmp_path)
    (tmp_path / "model.ckpt-5.index").touch()
    with pytest.raises(UsageError, match="is a TensorFlow checkpoint"):
        t5x.find(tmp_path / "model.ckpt-5")
    (tmp_path / "checkpoint_7" / "state").mkdir(parents=True)
    (tmp_path / "checkpoint_7" / "state" / "checkpoint").touch()
    for path in (tmp_path, tmp_path / "checkpoint_7"):
        with pytest.raises(UsageError, match="checkpoint_7 is a T5X checkpoint in Orbax's layout"):
            t5x.find(path)


def test_the_latest_of_a_model_directory_is_taken(tmp_path):
    for step in (9, 10, 100):
        write_checkpoint(tmp_path / f"checkpoint_{step}", make_arrays(), step=step)
    (tmp_path / "checkpoint_1000.tmp-5").mkdir()
    assert t5x.open_checkpoint(tmp_path).step == 100


class Bucket(http.server.BaseHTTPRequestHandler):
    """The two requests of Google Cloud Storage that reading needs, over a local folder."""

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        root, prefix = self.server.root, "/storage/v1/b/models/o"
        if url.path == prefix:
            names = [str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()]
            first, end = query["startOffset"], query["endOffset"]
            found = [name for name in sorted(names) if first <= name < end]
            self.answer(json.dumps({"items": [{"name": n, "generation": "1"} for n in found]}))
            return
        file = root / urllib.parse.unquote(url.path.removeprefix(f"{prefix}/"))
        if file.is_file():
            self.answer(file.read_bytes())
        else:
            self.answer("{}", 404)

    def answer(self, body, status=200):
        body = body if isinstance(body, bytes) else body.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("x-goog-generation", "1")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """A bucket 'models' whose objects are the files below the folder returned."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
    server.root = tmp_path / "bucket"
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("TENSORSTORE_GCS_HTTP_URL", address)
    monkeypatch.setenv("GOOGLE_AUTH_TOKEN_FOR_TESTING", "token")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server.root
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("written_to_bucket", [False, True])
def test_a_bucket_is_read(bucket, written_to_bucket):
    arrays = make_arrays()
    write_checkpoint(bucket / "t5" / "checkpoint_1000", arrays, bucket=written_to_bucket)
    assert t5x.find("gs://models/t5/none") is None
    checkpoint = t5x.open_checkpoint("gs://models/t5/checkpoint_1000/")
    assert checkpoint.path == "gs://models/t5/checkpoint_1000"
    assert_holds(checkpoint, arrays)
    place = f"target.{KERNEL.replace('/', '.')}"
    shutil.rmtree(bucket / "t5" / "checkpoint_1000" / place)
    with pytest.raises(FlanError, match=f"target/{KERNEL} is missing"):
        t5x.open_checkpoint("gs://models/t5/checkpoint_1000/").params.read(KERNEL)
