# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Toxicity scorers: a file of scores, a user's function, and a client against a local service."""

import http.server
import json
import threading
import urllib.parse

import pytest

from flan_jax.core.errors import DataError, FlanError, UsageError
from flan_jax.evals import toxicity
from tests.tasks.family_data import write_lines


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in ("SCORER", "TEXTS", "KEY", "URL", "RATE"):
        monkeypatch.delenv(getattr(toxicity, f"{name}_VARIABLE"), raising=False)


@pytest.fixture
def name_scorer(monkeypatch):
    def name(value: str) -> toxicity.Scorer:
        monkeypatch.setenv(toxicity.SCORER_VARIABLE, value)
        return toxicity.scorer()

    return name


class Service:
    """A local stand-in for the Perspective API: answers by a list of (status, body, headers)."""

    def __init__(self):
        self.replies, self.requests = [], []
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                size = int(self.headers["Content-Length"])
                service.requests.append((self.path, json.loads(self.rfile.read(size))))
                status, body, *headers = service.replies.pop(0)
                self.send_response(status)
                for name, value in headers or [("Content-Length", str(len(body)))]:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                del arguments

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1alpha1/comments:analyze"

    def say(self, *scores: float) -> None:
        for score in scores:
            summary = {"value": score, "type": "PROBABILITY"}
            body = {"attributeScores": {"TOXICITY": {"summaryScore": summary}}}
            self.replies.append((200, json.dumps(body).encode()))


@pytest.fixture
def service():
    service = Service()
    thread = threading.Thread(target=service.server.serve_forever, args=(0.01,))
    thread.start()
    yield service
    service.server.shutdown()
    thread.join()
    service.server.server_close()


def client(service: Service, waits: list[float], **settings) -> toxicity.Perspective:
    """Returns a client whose time passes only while it waits."""
    return toxicity.Perspective(
        key="a key&", url=service.url, sleep=waits.append, clock=lambda: sum(waits), **settings
    )


def test_nothing_set_and_wrong_names_are_told(name_scorer):
    with pytest.raises(UsageError, match="SCORER names none; set it to perspective, .*jsonl:FILE"):
        toxicity.scorer()
    with pytest.raises(UsageError, match="'detoxify' is no scorer; set it to"):
        name_scorer("detoxify")
    with pytest.raises(UsageError, match="No module named 'no_such_module'"):
        name_scorer("no_such_module:score")
    with pytest.raises(UsageError, match="did you mean 'dumps'"):
        name_scorer("json:dumbs")
    with pytest.raises(UsageError, match="no file 'none.jsonl'"):
        name_scorer("jsonl:none.jsonl")
    with pytest.raises(UsageError, match="set PERSPECTIVE_API_KEY"):
        name_scorer("perspective")


def test_a_file_of_scores(tmp_path, name_scorer):
    path = tmp_path / "scores.jsonl"
    rows = [{"text": " Hello.", "toxicity": 0.25}, {"text": "You!\nYou!", "toxicity": 1}]
    write_lines(path, rows)
    scorer = name_scorer(f"jsonl:{path}")
    assert scorer.scores(["You!\nYou! ", "", "Hello.", "\n"]) == [1.0, 0.0, 0.25, 0.0]
    assert toxicity.scorer() is scorer


def test_texts_without_a_score_are_counted_and_written_down(tmp_path, name_scorer, monkeypatch):
    path, out = tmp_path / "scores.jsonl", tmp_path / "texts.jsonl"
    write_lines(path, [{"text": "a", "toxicity": 0.5}])
    scorer = name_scorer(f"jsonl:{path}")
    assert scorer.find(["a", "b"]) == [0.5, None]
    with pytest.raises(DataError, match=r"2 of 3 texts have no score, the first 'b'.*TEXTS=FILE"):
        scorer.scores(["a", "b", "c\n", "b "])
    monkeypatch.setenv(toxicity.TEXTS_VARIABLE, str(out))
    with pytest.raises(DataError, match=f"2 of 3 texts have no score; they are in {out}"):
        scorer.scores(["a", "b", "c\n", "b "])
    assert out.read_text() == '{"text":"b"}\n{"text":"c"}\n'


def test_where_texts_cannot_be_written_it_is_told_before(tmp_path, name_scorer, monkeypatch):
    write_lines(tmp_path / "scores.jsonl", [])
    monkeypatch.setenv(toxicity.TEXTS_VARIABLE, str(tmp_path))
    with pytest.raises(UsageError, match="TOXICITY_TEXTS .* is a folder"):
        name_scorer(f"jsonl:{tmp_path / 'scores.jsonl'}")


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"text": "b"}, r"scores.jsonl:2: need a \"toxicity\" from 0 to 1, found None"),
        ({"text": "b", "toxicity": 1.5}, "found 1.5"),
        ({"text": "b", "toxicity": True}, "found True"),
        ({"text": "a ", "toxicity": 0.4}, "toxicity 0.4 of a text that has 0.5 above; keep one"),
        ({"toxicity": 0.4}, "need a text 'text'"),
    ],
)
def test_a_bad_line_of_scores_is_told(tmp_path, row, why):
    write_lines(tmp_path / "scores.jsonl", [{"text": "a", "toxicity": 0.5}, row])
    with pytest.raises(DataError, match=why):
        toxicity.read_scores(tmp_path / "scores.jsonl")


def test_a_function_is_asked_for_each_text_once(tmp_path, name_scorer, monkeypatch):
    (tmp_path / "my_toxicity_model.py").write_text(
        "asked = []\n"
        "def score(texts):\n"
        "    asked.extend(texts)\n"
        "    return [len(text) / 10 for text in texts]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    scorer = name_scorer("my_toxicity_model:score")
    assert scorer.scores(["abc", " abc", "", "a"]) == [0.3, 0.3, 0.0, 0.1]
    assert scorer.find(["a", "ab"]) == [0.1, 0.2]
    import my_toxicity_model

    assert my_toxicity_model.asked == ["abc", "a", "ab"]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("return [0.5]", "number from 0 to 1 for each of 2 texts, got 1; mend"),
        ("return [0.5, 3]", "got 2, of them 3.0; mend"),
        ("return [0.5, float('nan')]", "of them nan"),
        ("return [0.5, None]", "TypeError: .*NoneType"),
        ("raise KeyError('weights')", "KeyError: 'weights'"),
    ],
)
def test_what_a_function_gets_wrong_is_told(tmp_path, name_scorer, monkeypatch, body, why):
    name = tmp_path.name  # another one for each case
    (tmp_path / f"{name}.py").write_text(f"def score(texts):\n    {body}\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match=why):
        name_scorer(f"{name}:score").scores(["a", "b"])


@pytest.mark.parametrize(
    ("text", "why"),
    [("def", "SyntaxError"), ("raise OSError('no weights')", "OSError: no weights")],
)
def test_a_module_that_cannot_be_imported_is_told(tmp_path, name_scorer, monkeypatch, text, why):
    name = f"{tmp_path.name}_broken"
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match=f"{why}.*correct it"):
        name_scorer(f"{name}:score")
    with pytest.raises(UsageError, match="correct it"):
        name_scorer(".relative:score")


def test_perspective_is_asked_as_it_wants(service):
    service.say(0.75, 0.125)
    assert list(client(service, [])(["You fool.", "né"])) == [0.75, 0.125]
    path, body = service.requests[0]
    assert urllib.parse.parse_qs(urllib.parse.urlsplit(path).query) == {"key": ["a key&"]}
    assert body == {
        "comment": {"text": "You fool."},
        "languages": ["en"],
        "requestedAttributes": {"TOXICITY": {}},
        "doNotStore": True,
    }
    assert service.requests[1][1]["comment"] == {"text": "né"}


def test_perspective_keeps_its_rate(service):
    waits = []
    service.say(0.1, 0.2, 0.3)
    assert list(client(service, waits, interval_s=0.5)(["a", "b", "c"])) == [0.1, 0.2, 0.3]
    assert waits == [0.5, 0.5]  # none before the first


def test_perspective_is_asked_again_while_it_is_busy(service):
    waits = []
    service.replies = [(429, b"quota"), (503, b"")]
    service.say(0.5)
    assert list(client(service, waits, interval_s=0.25)(["a"])) == [0.5]
    assert waits == [2.0, 4.0]
    assert len(service.requests) == 3


def test_perspective_that_stays_busy_ends_it(service):
    service.replies = [(429, b"quota exceeded")] * 6
    with pytest.raises(FlanError, match="not answer in 6 tries: 429 .*quota exceeded") as caught:
        list(client(service, [])(["a"]))
    assert "a key" not in str(caught.value)
    assert "perspective:FILE" in str(caught.value)


def test_a_refusal_is_told_at_once(service):
    service.replies = [(400, b'{"error": {"message": "API key not valid"}}')]
    with pytest.raises(FlanError, match="refused .*400 .*API key not valid.*PERSPECTIVE_API_KEY"):
        list(client(service, [])(["a"]))
    assert len(service.requests) == 1


def test_the_key_is_never_shown(service):
    asked = client(service, [])
    assert "a key" not in repr(asked)
    repeated = b"consumer api_key:a key& of ?key=a+key%26 or a%20key%26"
    for replies, why in (
        (
            [(403, repeated)],
            r"refused .*403 .*consumer api_key:\[key\] of \?key=\[key\] or \[key\]",
        ),
        ([(429, repeated)] * 6, "not answer in 6 tries"),
        ([(200, repeated)], "holds no TOXICITY"),
    ):
        service.replies = replies
        with pytest.raises(FlanError, match=why) as caught:
            list(asked(["a"]))
        assert not {"a key", "a+key", "a%20key"} & set(str(caught.value).split())
        assert "key&" not in str(caught.value) and "key%26" not in str(caught.value)


def test_another_address_is_not_followed(service):
    service.replies = [(302, b"", ("Location", f"{service.url}/elsewhere"))]
    with pytest.raises(FlanError, match="refused .*302 .*see that .* this is its address"):
        list(client(service, [])(["a"]))
    assert len(service.requests) == 1


def test_replies_that_break_off_are_asked_for_again(service):
    service.replies = [(200, b"{", ("Content-Length", "9")), (500, b"", ("Content-Length", "9"))]
    service.say(0.5)
    assert list(client(service, [])(["a"])) == [0.5]
    assert len(service.requests) == 3


@pytest.mark.parametrize(
    "url",
    [
        "commentanalyzer.googleapis.com", "http://example.org/analyze", "ftp://localhost/analyze",
        "https://", "https://example.org:port/", "https://[1/", "https://example.org/a b",
        "https://example.org/analyze?key=secret", "file:///etc/passwd", "https://exämple.org/",
    ],
)  # fmt: skip
def test_an_address_that_is_not_safe_for_a_key_is_refused(name_scorer, monkeypatch, url):
    monkeypatch.setenv(toxicity.KEY_VARIABLE, "k")
    monkeypatch.setenv(toxicity.URL_VARIABLE, url)
    with pytest.raises(UsageError, match="PERSPECTIVE_API_URL must be an https address") as caught:
        name_scorer("perspective")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("reply", [b"<html>", b"[]", b'{"attributeScores": {}}'])
def test_another_reply_is_told(service, reply):
    service.replies = [(200, reply)]
    with pytest.raises(FlanError, match="holds no TOXICITY"):
        list(client(service, [])(["a"]))


def test_a_service_that_is_not_there_is_told():
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        port = server.server_port
    nobody = toxicity.Perspective(key="k", url=f"http://127.0.0.1:{port}/", sleep=lambda s: None)
    with pytest.raises(FlanError, match="in 6 tries: .*refused"):
        list(nobody(["a"]))


def test_scores_of_perspective_are_kept(service, tmp_path, name_scorer, monkeypatch):
    monkeypatch.setenv(toxicity.KEY_VARIABLE, "k")
    monkeypatch.setenv(toxicity.URL_VARIABLE, service.url)
    monkeypatch.setenv(toxicity.RATE_VARIABLE, "1000000")
    path = tmp_path / "kept" / "scores.jsonl"
    write_lines(path, [])
    path.write_text('{"text": "a", "toxicity": 0.5}')  # without the last line break
    service.say(0.25)
    service.replies.append((403, b"no"))
    with pytest.raises(FlanError, match="refused"):
        name_scorer(f"perspective:{path}").scores(["a", "b", "c"])
    assert toxicity.read_scores(path) == {"a": 0.5, "b": 0.25}
    assert [body["comment"]["text"] for _, body in service.requests] == ["b", "c"]

    monkeypatch.setenv(toxicity.RATE_VARIABLE, "2000000")  # another scorer, that reads the file
    service.say(0.125)
    assert name_scorer(f"perspective:{path}").scores(["a", "b", "c"]) == [0.5, 0.25, 0.125]
    assert len(service.requests) == 3


@pytest.mark.parametrize("rate", ["0", "many", "-1", "nan"])
def test_a_rate_that_is_none_is_told(name_scorer, monkeypatch, rate):
    monkeypatch.setenv(toxicity.KEY_VARIABLE, "k")
    monkeypatch.setenv(toxicity.RATE_VARIABLE, rate)
    with pytest.raises(UsageError, match=f"PERSPECTIVE_API_QPS must be .* got '{rate}'"):
        name_scorer("perspective")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" He left. She stayed.", "He left."),
        ('"Who?" he said. Nobody.', '"Who?"'),
        ("It costs 3.50 a piece! Really", "It costs 3.50 a piece!"),
        ("one line\nanother. one", "one line"),
        ("(So it was.) Then", "(So it was.)"),
        ("Wait... what", "Wait..."),
        ("no end of it", "no end of it"),
        ("", ""),
    ],
)
def test_first_sentence(text, expected):
    assert toxicity.first_sentence(text) == expected
