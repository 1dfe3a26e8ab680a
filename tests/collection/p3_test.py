# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""P3: promptsource's template files, their sandboxed rendering, and the three ways to rows."""

import json
import pickle
import tarfile

import pytest

from flan_jax.collection import p3, p3_templates, spec
from flan_jax.collection.p3 import P3Source
from flan_jax.collection.parsing import Malformed
from flan_jax.collection.spec import Drop
from flan_jax.core.errors import DataError, UsageError
from flan_jax.core.rng import ExampleKey

FILE = r"""dataset: demo
subset: v1.0
templates:
  1: !Template
    answer_choices: '{{ choices | join("|||") }}'
    id: 1
    jinja: "{{ question }}\nPick one:\n- {{ answer_choices | join(\"\\n- \") }}\n|||\n{{ answer }}"
    metadata: !TemplateMetadata
      choices_in_prompt: true
      metrics:
      - Accuracy
      original_task: true
    name: pick
    reference: ''
  2: !Template
    answer_choices: null
    id: 2
    jinja: '{% if answer %}Say why "{{ answer }}" is right.|||{{ reasons.text | choice }}

      {% endif %}'
    metadata: !TemplateMetadata {}
    name: say why
    reference: ''
  3: !Template
    answer_choices: A ||| B
    id: 3
    jinja: '{% for key, text in zip(answer_choices, choices) %}{{ key }}: {{ text }}
      {% endfor %}|||{{ answer_choices[choices.index(answer)] }}'
    metadata: !TemplateMetadata {}
    name: by letter
    reference: ''
"""
ROW = {
    "question": "Which is wet?",
    "choices": ["sand", "water"],
    "answer": "water",
    "reasons": {"text": ["It flows.", "It is\na liquid.", "One drinks it."]},
}
KEY = ExampleKey(0, "p3", 0)


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Folders of templates and raw rows, both in the environment; no rendered rows."""
    inside = tmp_path / "templates" / "demo" / "v1.0"
    inside.mkdir(parents=True)
    (inside / "templates.yaml").write_text(FILE)
    monkeypatch.setenv(p3_templates.VARIABLE, str(tmp_path / "templates"))
    monkeypatch.setenv(p3.ROWS_VARIABLE, str(tmp_path / "rows"))
    monkeypatch.delenv(p3.RENDERED_VARIABLE, raising=False)
    write(tmp_path / "rows/demo_v1.0", [ROW])
    return tmp_path


def write(folder, train, validation=(ROW,)):
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("train", train), ("validation", validation)):
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines))


def source(template="pick", **changes):
    given = {"name": "demo_pick", "dataset": "demo", "subset": "v1.0", "template": template}
    return P3Source(**(given | changes))


def template(jinja, answer_choices=""):
    return p3_templates.P3Template("hand-made", jinja, answer_choices, "demo.yaml")


def rendered(jinja, row, answer_choices="", key=KEY):
    return p3_templates.render(template(jinja, answer_choices), row, key, "demo row 0")


def outcomes(source, mapping=p3.question_answer, split="train"):
    """Returns what becomes of each row: its fields, or the reason for which it is dropped."""
    found = []
    for _, row in source.rows(split):
        try:
            found.append(row.reason if isinstance(row, Malformed) else mapping(row))
        except Drop as drop:
            found.append(drop.reason)
    return found


def archive(folder, path, prefix="promptsource-0.2.3/promptsource/templates"):
    with tarfile.open(path, "w:gz") as file:
        file.add(folder, arcname=prefix)
    return path


PICKED = "Which is wet?\nPick one:\n- sand\n- water"


def test_raw_rows_become_prompts(folders):
    assert outcomes(source(), p3.multiple_choice) == [{"question": PICKED, "answer": "water"}]
    assert outcomes(source("by letter"), p3.separated_options) == [
        {"question": "A: sand B: water", "answer": "B", "options": ["A", "B"]}
    ]


@pytest.mark.parametrize("prefix", ["", "templates", "promptsource/templates"])
def test_templates_are_found_in_every_layout(folders, monkeypatch, tmp_path, prefix):
    root = tmp_path / "elsewhere"
    (root / prefix).parent.mkdir(parents=True, exist_ok=True)
    (folders / "templates").rename(root / prefix if prefix else root)
    monkeypatch.setenv(p3_templates.VARIABLE, str(root))
    assert p3_templates.load("demo", "v1.0", "pick").answer_choices


def test_templates_are_read_from_the_archive(folders, monkeypatch, tmp_path):
    path = archive(folders / "templates", tmp_path / "promptsource-0.2.3.tar.gz")
    before = outcomes(source())
    monkeypatch.setenv(p3_templates.VARIABLE, str(path))
    assert outcomes(source()) == before
    assert sorted(tmp_path.iterdir()) == [path, folders / "rows", folders / "templates"]


@pytest.mark.parametrize("kind", ["link", "elsewhere"])
def test_only_the_template_files_of_an_archive_are_read(tmp_path, monkeypatch, kind):
    path = tmp_path / "evil.tar.gz"
    with tarfile.open(path, "w:gz") as file:
        member = tarfile.TarInfo("p/promptsource/templates/demo/v1.0/templates.yaml")
        if kind == "link":
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        else:
            member.name = "../../demo/v1.0/templates.yaml"
        file.addfile(member)
    monkeypatch.setenv(p3_templates.VARIABLE, str(path))
    with pytest.raises(UsageError, match="no demo/v1.0/templates.yaml in .*promptsource==0.2.3"):
        p3_templates.load("demo", "v1.0", "pick")


def test_a_file_that_is_no_archive_is_said(tmp_path, monkeypatch):
    path = tmp_path / "broken.tar.gz"
    path.write_bytes(b"no archive")
    monkeypatch.setenv(p3_templates.VARIABLE, str(path))
    with pytest.raises(DataError, match="broken.tar.gz .* cannot be read as an archive"):
        p3_templates.load("demo", "", "pick")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("templates: !!python/object/apply:os.system ['true']", "could not determine"),
        ("templates: {1: !Other {name: a, jinja: b}}", "!Other"),
        ("[]", "no map of 'templates'"),
        ("templates: {1: !Template {name: a}}", "needs texts 'name', 'jinja'"),
        ("templates: {1: {name: a, jinja: b, answer_choices: [c]}}", "needs texts"),
        ("templates: {1: {name: a, jinja: b}, 2: {name: a, jinja: c}}", "is there twice"),
        ("templates: {", "not a template file"),
    ],
)
def test_a_file_unlike_promptsources_is_refused(folders, text, fault):
    (folders / "templates/demo/v1.0/templates.yaml").write_text(text)
    with pytest.raises(DataError, match=fault):
        p3_templates.load("demo", "v1.0", "a")


def test_an_unknown_template_names_the_closest(folders):
    with pytest.raises(UsageError, match="unknown template 'pik'; did you mean 'pick'"):
        p3_templates.load("demo", "v1.0", "pik")


@pytest.mark.parametrize(
    "hostile",
    [
        "{{ question.__class__ }}|||x",
        "{{ question.__class__.__mro__[1].__subclasses__() }}|||x",
        "{{ ''['__class__'] }}|||x",
        "{{ zip.__subclasses__() }}|||x",
        "{{ choices.append('x') }}|||x",
        "{{ '{0.__class__}'.format(question) }}|||x",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}|||x",
    ],
)
def test_a_hostile_template_is_refused(hostile):
    with pytest.raises(DataError, match=r"demo.yaml: template 'hand-made' is not run: .*0\.2\.3"):
        rendered(hostile, ROW)


def test_a_hostile_expression_of_the_choices_is_refused():
    with pytest.raises(DataError, match="is not run: access to attribute '__class__'"):
        rendered("a|||b", ROW, answer_choices="{{ question.__class__ }}")


@pytest.mark.parametrize("text", ["{{ question", "{{ question | nothing }}", "{% if %}"])
def test_a_template_that_is_no_jinja_is_said(text):
    with pytest.raises(DataError, match="demo.yaml: template 'hand-made' is no valid Jinja"):
        rendered(text, ROW)


def test_data_is_never_read_as_a_template():
    row = {"question": "{{ 7 * 7 }}{% if %}", "answer": "{{ question }}"}
    assert rendered("{{question}}|||{{answer}}", row) == {
        "inputs": "{{ 7 * 7 }}{% if %}",
        "targets": "{{ question }}",
        "answer_choices": None,
    }


def test_bars_in_data_part_nothing():
    row = {"question": "a ||| b", "choices": ["x|||y", "z|"], "answer": "x|||y"}
    got = rendered("{{question}}: {{answer_choices[0]}}|||{{answer}}", row,
                   '{{ choices | join("|||") }}')  # fmt: skip
    assert got == {
        "inputs": "a ||| b: x|||y",
        "targets": "x|||y",
        "answer_choices": ["x|||y", "z|"],
    }


def test_choices_depend_on_the_row_alone():
    text = "{{ items | choice }} {{ items | choice }} {{ items | choice }}|||x"
    row = {"items": list("abcdefgh")}
    drawn = [rendered(text, row, key=ExampleKey(0, "p3", i))["inputs"] for i in range(30)]
    again = [rendered(text, row, key=ExampleKey(0, "p3", i))["inputs"] for i in range(30)]
    assert drawn == again
    assert len(set(drawn)) > 25 and len({tuple(d.split()) for d in drawn}) > 25
    assert any(len(set(d.split())) == 3 for d in drawn), "each choice is drawn anew"


@pytest.mark.parametrize(
    ("text", "row", "reason"),
    [
        ("{{ items | choice }}|||x", {"items": []}, p3_templates.NO_CHOICE),
        ("{{ text }}|||x", {"text": None}, p3_templates.NULL),
        ("{{ text.inner }}|||x", {"text": {}}, p3_templates.LACKING),
        ('{{ {"1": "a"}[label] }}|||x', {"label": "7"}, p3_templates.LACKING),
        ("{{ items.index(1) }}|||x", {"items": []}, "its P3 template fails with ValueError"),
        ("{{ 1 + text }}|||x", {"text": "a"}, "its P3 template fails with TypeError"),
        ("{{ range(number) | list }}|||x", {"number": 10**9}, "fails with OverflowError"),
    ],
)
def test_a_row_that_the_template_fails_on_is_dropped(text, row, reason):
    with pytest.raises(Drop, match=reason) as caught:
        rendered(text, row)
    assert caught.value.where == "demo row 0"


def test_a_field_that_is_not_there_is_said(folders):
    write(folders / "rows/demo_v1.0", [{"Question": "q"}])
    with pytest.raises(DataError, match=r"row 0: no field 'answer'.*'pick'.*\['Question'\]"):
        outcomes(source())


def test_rows_left_out_by_a_condition_are_no_rows_of_the_task(folders):
    write(folders / "rows/demo_v1.0", [ROW, ROW | {"answer": ""}, "no JSON", ROW])
    task = source("say why")
    left_in, left_out, broken, _ = outcomes(task)
    assert left_in["question"] == 'Say why "water" is right.'
    assert left_in["answer"] in ROW["reasons"]["text"]
    assert left_out == p3.LEFT_OUT and broken == "not valid JSON"
    assert task.num_rows("train") == 2 and source().num_rows("train") == 3
    assert [index for index, _ in task.rows("train")] == [0, 1, 2, 3]


def test_a_row_that_fails_counts_as_a_row(folders):
    write(folders / "rows/demo_v1.0", [ROW | {"reasons": {"text": []}}, ROW])
    task = source("say why")
    assert outcomes(task)[0] == p3_templates.NO_CHOICE
    assert task.num_rows("train") == 2


def test_line_breaks_stay_in_targets():
    got = p3.question_answer({"inputs": " a\nb ", "targets": "\none\ntwo\n"})
    assert got == {"question": "a\nb", "answer": "one\ntwo"}


@pytest.mark.parametrize(
    ("target", "choices", "answer"),
    [
        ("Yes", ["Yes", "No"], "Yes"),
        (" yes ", ["Yes", "No"], "Yes"),
        ("two  words", ["Two\nWords", "no"], "Two\nWords"),
        ("a", ["a", "A"], "a"),
    ],
)
def test_the_answer_is_one_of_the_choices(target, choices, answer):
    row = {"inputs": "q", "targets": target, "answer_choices": choices}
    assert p3.separated_options(row)["answer"] == answer
    assert p3.multiple_choice(row)["answer"] == answer


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"targets": "maybe"}, "answer is not among the options"),
        ({"targets": "YES", "answer_choices": ["yes", "Yes"]}, "answer is not among the options"),
        ({"answer_choices": None}, p3.NO_ANSWER_CHOICES),
        ({"answer_choices": []}, p3.NO_ANSWER_CHOICES),
        ({"inputs": " \n"}, "empty input"),
        ({"targets": ""}, "empty target"),
    ],
)
def test_bad_rendered_rows_are_dropped(row, reason):
    full = {"inputs": "q", "targets": "Yes", "answer_choices": ["Yes", "No"]} | row
    for mapping in (p3.separated_options, p3.multiple_choice):
        with pytest.raises(Drop, match=f"^{reason}$"):
            mapping(full)


def test_rendered_rows_come_first(folders, monkeypatch):
    monkeypatch.setenv(p3.RENDERED_VARIABLE, str(folders / "rendered"))
    assert outcomes(source(), p3.multiple_choice)[0]["question"] == PICKED
    pretokenized = {
        "inputs": [3, 4],
        "inputs_pretokenized": "Is it?\n",
        "targets": [5],
        "targets_pretokenized": "\nNo",
        "answer_choices": ["Yes", "No"],
    }
    plain = {"inputs": "Is it?", "targets": "No", "answer_choices": ["Yes", "No"]}
    write(folders / "rendered/demo_pick", [pretokenized, plain])
    monkeypatch.delenv(p3_templates.VARIABLE)
    task = source()
    assert task.missing() is None and task.num_rows("train") == 2
    assert outcomes(task, p3.multiple_choice) == [{"question": "Is it?", "answer": "No"}] * 2


def test_rendered_rows_need_texts():
    with pytest.raises(TypeError, match="neither 'targets' nor 'targets_pretokenized' is a text"):
        p3.question_answer({"inputs": "a", "targets": [1, 2]})


def test_what_is_missing_is_said_with_every_remedy(folders, monkeypatch, tmp_path):
    assert source().missing() is None
    for name in (p3_templates.VARIABLE, p3.ROWS_VARIABLE):
        monkeypatch.delenv(name)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "none"))
    reason = source().missing()
    for part in ("FLAN_JAX_P3_TEMPLATES", "FLAN_JAX_T0_DIR", "FLAN_JAX_P3_RENDERED_DIR", "pip"):
        assert part in reason
    assert "\n" not in reason
    assert source("other", name="demo_other").missing() == reason, "one line for all tasks"
    assert "t.builder('demo:1.0.0')" in source(tfds="demo:1.0.0").missing()


def test_what_is_missing_of_a_folder_is_named(folders, monkeypatch):
    (folders / "rows/demo_v1.0/validation.jsonl").unlink()
    assert "demo_v1.0/validation.jsonl does not exist" in source().missing()
    assert source(splits=("train",)).missing() is None
    assert "unknown template 'pik'" in source("pik", splits=("train",)).missing()
    monkeypatch.setenv(p3_templates.VARIABLE, str(folders / "nowhere"))
    assert "nowhere (FLAN_JAX_P3_TEMPLATES) does not exist" in source().missing()
    monkeypatch.setenv(p3.RENDERED_VARIABLE, str(folders / "rendered"))
    assert "rendered/demo_pick/train.jsonl and 1 more does not exist" in source().missing()


@pytest.mark.parametrize("part", ["..", "../x", "a/b", "/etc", ".hidden", "a\n", "a\0b"])
@pytest.mark.parametrize("field", ["name", "dataset", "subset"])
def test_names_of_folders_are_checked(field, part):
    with pytest.raises(UsageError, match="names a folder"):
        source(**{field: part})


def test_the_fingerprint_covers_template_and_rows(folders):
    file = folders / "templates/demo/v1.0/templates.yaml"
    base = source().fingerprint("train")
    prints = {
        base,
        source().fingerprint("validation"),
        source("by letter").fingerprint("train"),
        source(seed=1).fingerprint("train"),
    }
    file.write_text(FILE.replace("Pick one", "Take one"))
    prints.add(source().fingerprint("train"))
    file.write_text(FILE)
    write(folders / "rows/demo_v1.0", [ROW, ROW])
    prints.add(source().fingerprint("train"))
    assert len(prints) == 6
    write(folders / "rows/demo_v1.0", [ROW])
    assert source().fingerprint("train") == base


def test_source_and_rows_are_sent_to_other_processes(folders):
    task = source()
    copy = pickle.loads(pickle.dumps(task))
    assert copy == task and hash(copy) == hash(task)
    (_, row), *_ = copy.rows("train")
    row = pickle.loads(pickle.dumps(row))
    assert p3.multiple_choice(row) == {"question": PICKED, "answer": "water"}


def test_a_split_that_is_not_there_is_empty(folders):
    task = source(splits=(spec.TRAIN,))
    assert task.num_rows("validation") == 0 and list(task.rows("validation")) == []
    with pytest.raises(UsageError, match="must be of"):
        source(splits=("test",))
