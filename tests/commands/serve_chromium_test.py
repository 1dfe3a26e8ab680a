# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The playground in a real browser without a window, over a tiny real model and over a speller."""

import json
import threading

import pytest

pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")

from flan_jax.serving.requests import Limits
from tests.serving import chromium
from tests.serving.tiny_servers import SpelledModel, Speller, real_model, running

pytestmark = [
    pytest.mark.large,  # starts a browser, and compiles
    pytest.mark.skipif(
        chromium.CHROMIUM is None, reason=f"no browser on PATH ({', '.join(chromium.NAMES)})"
    ),
]

DONE = "document.getElementById('state').textContent.startsWith('Done')"
WAYS = ("zero_shot", "few_shot", "step_by_step")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with chromium.browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def spelled():
    with running(SpelledModel(max_input_length=999), Speller, Limits(max_tokens=99)) as client:
        yield client


def fill(page, **values):
    for name, value in values.items():
        field = f"document.getElementById({json.dumps(name.replace('_', '-'))})"
        page.run(
            f"{field}.value = {json.dumps(value)}; "
            f"{field}.dispatchEvent(new Event('input', {{bubbles: true}}))"
        )


def texts(page, selector):
    return page.run(
        f"[...document.querySelectorAll({json.dumps(selector)})].map((e) => e.textContent)"
    )


def ask(page):
    page.run("document.getElementById('question').focus()")
    page.press("Enter", ctrl=True)
    page.wait(DONE)


def test_three_ways_of_asking_stand_side_by_side(page, spelled):
    page.open(spelled.url)
    fill(page, question="2+2?", exemplars="Q: 1+1?\nA: 2", samples="3", choices="")
    ask(page)
    sent = ["2+2?", "Q: 1+1?\nA: 2\n\nQ: 2+2?\nA:", "2+2?\nLet's think step by step."]
    for way, prompt in zip(WAYS, sent, strict=True):
        assert texts(page, f"#way-{way} .sent .text") == [prompt]
        assert texts(page, f"#way-{way} .answer .text") == [prompt[::-1]] * 3
        assert texts(page, f"#way-{way} .votes .count") == ["3"]
    lefts = page.run("[...document.querySelectorAll('.way')].map((e) => e.offsetLeft)")
    assert len(set(lefts)) == 3
    for width in (320, 360):
        page.resize(width, 700)
        assert page.run("document.documentElement.scrollWidth") <= width
        assert (
            len(set(page.run("[...document.querySelectorAll('.way')].map((e) => e.offsetLeft)")))
            == 1
        )
    assert page.complaints() == []


def test_a_vote_shows_who_cast_it(page, spelled):
    page.open(spelled.url)
    fill(page, question="2+2?", samples="2")
    ask(page)
    page.run("document.querySelector('.votes button').click()")
    assert page.run("document.querySelectorAll('#way-zero_shot .answer.dim').length") == 0
    assert page.run("document.querySelector('.votes button').ariaPressed") == "true"


def test_without_exemplars_there_is_no_few_shot(page, spelled):
    page.open(spelled.url)
    fill(page, question="2+2?", exemplars="", samples="1")
    ask(page)
    assert texts(page, "#way-few_shot .answer") == []
    assert "Give exemplars" in texts(page, "#way-few_shot .empty")[0]
    assert texts(page, "#way-zero_shot .answer .text") == ["?2+2"]
    assert texts(page, "#way-zero_shot .votes") == []


def test_refusals_are_shown(page, spelled):
    page.open(spelled.url)
    fill(page, question="x" * 2000, exemplars="", samples="1")
    ask(page)
    faults = texts(page, ".fault[role=alert]")
    assert len(faults) == 2 and "2000 tokens; the model takes 999" in faults[0]
    fill(page, question="x", exemplars="no questions")
    ask(page)
    assert "begin with Q:" in texts(page, ".fault[role=alert]")[0]


def test_hostile_text_stays_text(page, spelled):
    hostile = "<img src=x onerror=document.documentElement.dataset.hit=1></script>"
    page.open(spelled.url)
    # The answer is the question backwards.
    fill(page, question=hostile[::-1], exemplars=f"Q: {hostile}\nA: {hostile}", samples="2")
    ask(page)
    assert texts(page, "#way-zero_shot .answer .text") == [hostile] * 2
    assert page.run("document.querySelectorAll('img').length") == 0
    assert page.run("document.documentElement.dataset.hit") is None


def test_an_answer_can_be_stopped(page):
    gate = threading.Semaphore(0)
    session = Speller(gate)
    with running(SpelledModel(), lambda: session, Limits(max_tokens=99)) as client:
        page.open(client.url)
        fill(page, question="abcdef", exemplars="", samples="1")
        page.press("Enter", ctrl=True)
        gate.release(2)
        page.wait("document.querySelector('#way-zero_shot .answer .text')?.textContent")
        page.press("Escape")
        page.wait("document.getElementById('state').textContent === 'Stopped.'")
        assert "stopped" in texts(page, "#way-zero_shot .answer header")[0]
        assert texts(page, ".fault") == []
        gate.release(999)
        page.wait("fetch('/health').then((r) => r.json()).then((h) => h.pending === 0)")
        assert session.open == {}


def test_a_server_that_is_gone_is_said(page):
    with running(SpelledModel(), Speller, Limits(max_tokens=99)) as client:
        page.open(client.url)
    fill(page, question="x")
    ask(page)
    assert "is it still running" in texts(page, ".fault")[0]


@pytest.mark.parametrize("kind", ["t5", "decoder"])
def test_a_real_models_probabilities_are_shaded_and_shown(page, kind):
    model = real_model(kind)
    with running(model, model.new_session, Limits(max_tokens=32)) as client:
        page.open(client.url)
        fill(
            page, question="ab?", exemplars="", samples="2", max_tokens="12", seed="3",
            choices="yes\nno",
        )  # fmt: skip
        ask(page)
        assert texts(page, ".fault") == []
        shares = texts(page, "#way-zero_shot .bars:not(.votes) .count")
        assert len(shares) == 2 and sum(float(s.split()[0]) for s in shares) == pytest.approx(
            100, abs=1
        )
        wanted = client.complete("ab?", n=2, max_tokens=12, seed=3, temperature=0.7, logprobs=5)[
            "choices"
        ]
        assert texts(page, "#way-zero_shot .answer .text") == [c["text"] for c in wanted]
        doubts = page.run(
            "[...document.querySelectorAll('#way-zero_shot .answer:first-child .token')]"
            ".map((e) => Math.log(1 - e.style.getPropertyValue('--doubt')))"
        )
        assert doubts == pytest.approx(wanted[0]["logprobs"]["token_logprobs"], abs=0.1)
        page.run("document.querySelector('.token').scrollIntoView({block: 'center'})")
        page.wait("new Promise((done) => requestAnimationFrame(() => done(true)))")
        page.point(".token")
        page.wait("!document.getElementById('tip').hidden")
        assert len(texts(page, "#tip .bar")) >= 5
        page.run("document.querySelector('.answer .text').focus()")
        page.press("ArrowRight")
        page.press("Escape")
        assert page.run("document.getElementById('tip').hidden")
        # Beams, which have no temperature.
        fill(page, beams="3", samples="2")
        assert page.run("document.getElementById('temperature').disabled")
        ask(page)
        assert texts(page, ".fault") == []
        assert len(texts(page, "#way-zero_shot .answer")) == 2
        assert {request.split("/")[2] for request in page.requests() if "://" in request} >= {
            f"127.0.0.1:{client.port}"
        }


def test_nothing_was_asked_of_any_other_machine(page):
    addresses = [request for request in page.requests() if not request.startswith("data:")]
    assert addresses and all(a.startswith("http://127.0.0.1:") for a in addresses)
