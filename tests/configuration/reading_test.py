# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A binding replaces another one only where its author saw it; places are those of the text."""

import pytest

from flan_jax.configuration import reading
from flan_jax.core.errors import UsageError

X = ("X", reading.MACRO, "value")


def read(folder, files, bindings=(), given=("run.gin",)):
    """Reads the files `given`, out of `files` (name -> text), then bindings; checks conflicts."""
    for name, text in files.items():
        (folder / name).write_text(text)
    command = reading.Command(["", str(folder)])
    for name in given:
        command.add_file(name)
    for binding in bindings:
        command.add_binding(binding, "the command line")
    command.check()
    return command


def include(*names):
    return "".join(f"include '{name}'\n" for name in names)


A1, B2, B1 = {"a.gin": "X = 1\n"}, {"b.gin": "X = 2\n"}, {"b.gin": "X = 1\n"}
ASKS = {"asks.gin": "X = %gin.REQUIRED\n"}


@pytest.mark.parametrize(
    ("files", "value"),
    [
        ({"run.gin": "X = 1\nX = 1\n"}, 1),
        ({"run.gin": "X = 1e-3\nX = 0.001\n"}, 0.001),
        ({"run.gin": "X = %gin.REQUIRED\nX = 1\n"}, 1),
        ({**A1, "run.gin": include("a.gin") + "X = 2"}, 2),
        ({**A1, "run.gin": "X = 1\n" + include("a.gin")}, 1),
        ({**A1, "run.gin": "X = %gin.REQUIRED\n" + include("a.gin")}, 1),
        ({**A1, **B1, "run.gin": include("a.gin", "b.gin")}, 1),
        ({**A1, **B2, "run.gin": include("a.gin", "b.gin") + "X = 3"}, 3),
        ({**A1, **ASKS, "run.gin": include("asks.gin", "a.gin")}, 1),
        # What is undone is restored below the include.
        ({**A1, "run.gin": "X = 2\n" + include("a.gin") + "X = 2"}, 2),
        # The file above decides what the one between left open.
        ({**A1, **B2, "c.gin": include("a.gin", "b.gin"), "run.gin": include("c.gin") + "X = 3"},
         3),
        # One file reached twice, as it is.
        (
            {**A1, "b.gin": include("a.gin"), "c.gin": include("a.gin"),
             "run.gin": include("b.gin", "c.gin")},
            1,
        ),
    ],
)  # fmt: skip
def test_a_deliberate_or_equal_repetition_is_read_as_gin_reads_it(tmp_path, files, value):
    assert read(tmp_path, files).bound[X].value == value


BOTH = {**A1, **B2}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"run.gin": "X = 1\nY = 5\nX = 2\n"},
         "X is bound twice: 1 (DIR/run.gin:1) and 2 (DIR/run.gin:3); keep one"),
        ({"run.gin": "X = 1\nX = %gin.REQUIRED\n"}, "X is bound twice: 1 (DIR/run.gin:1) and %"),
        # Equal in Python, not in Gin: any two macros, and numbers of different types.
        ({"run.gin": "X = %A\nX = %B\n"}, "X is bound twice: %A (DIR/run.gin:1) and %B"),
        ({"run.gin": "X = 1\nX = True\n"}, "X is bound twice: 1 (DIR/run.gin:1) and True"),
        ({"run.gin": "X = 1\nX = 1.0\n"}, "X is bound twice: 1 (DIR/run.gin:1) and 1.0"),
        # A mistake within a file stays one though another file decides.
        ({"a.gin": "X = 1\nX = 2", "run.gin": include("a.gin") + "X = 3"},
         "X is bound twice: 1 (DIR/a.gin:1) and 2 (DIR/a.gin:2)"),
        ({**BOTH, "run.gin": include("a.gin", "b.gin")},
         "X is 1 (DIR/a.gin:1) and 2 (DIR/b.gin:1), both included by DIR/run.gin; "
         "bind it there, below the includes"),
        ({**BOTH, "c.gin": include("a.gin", "b.gin"), "run.gin": include("c.gin")},
         "both included by DIR/c.gin"),
        ({**A1, **ASKS, "run.gin": include("a.gin", "asks.gin")},
         "X is 1 (DIR/a.gin:1) and %gin.REQUIRED (DIR/asks.gin:1), both included by"),
        ({**A1, "run.gin": "\nX = 2\n" + include("a.gin")},
         "X is 2 (DIR/run.gin:2), which a later include undoes: 1 (DIR/a.gin:1); move it below"),
        # One file reached twice, the second time after what changed it.
        ({**A1, "b.gin": include("a.gin") + "X = 2", "run.gin": include("b.gin", "a.gin")},
         "X is 2 (DIR/b.gin:2) and 1 (DIR/a.gin:1), both included by DIR/run.gin"),
    ],
)  # fmt: skip
def test_a_silent_repetition_names_both_places_and_values(tmp_path, files, message):
    with pytest.raises(UsageError) as error:
        read(tmp_path, files)
    assert message.replace("DIR", str(tmp_path)) in str(error.value)


def test_the_command_overrides_files_and_later_files_earlier_ones(tmp_path):
    both = {**BOTH, "run.gin": include("a.gin", "b.gin")}
    assert read(tmp_path, both, given=("a.gin", "b.gin")).bound[X].value == 2
    assert read(tmp_path, both, ["X = 3"], given=("a.gin", "b.gin")).bound[X].value == 3
    # Either decides what a file left open.
    assert read(tmp_path, both, ["X = 3"]).bound[X].value == 3
    assert read(tmp_path, both, given=("run.gin", "a.gin")).bound[X].value == 1
    assert read(tmp_path, both, ["X = 3", "X = 3"]).bound[X].value == 3
    with pytest.raises(UsageError, match=r"X is bound twice: 3 \(the command line\) and 4 \(the"):
        read(tmp_path, both, ["X = 3", "X = 4"])


def test_a_later_file_does_not_unset_what_an_earlier_one_set(tmp_path):
    files = {**A1, **ASKS}
    assert read(tmp_path, files, given=("asks.gin", "a.gin")).bound[X].value == 1
    with pytest.raises(UsageError, match=r"X is 1 \(.*a.gin:1\), which a later file unsets"):
        read(tmp_path, files, given=("a.gin", "asks.gin"))
    assert read(tmp_path, files, ["X = 2"], given=("a.gin", "asks.gin")).bound[X].value == 2


def test_several_conflicts_are_listed_together(tmp_path):
    with pytest.raises(UsageError) as error:
        read(tmp_path, {"run.gin": "X = 1\nX = 2\nY = 1\nY = 2\n"})
    lines = str(error.value).splitlines()
    assert lines[0] == "2 conflicts between bindings:"
    assert [line.split()[0] for line in lines[1:]] == ["X", "Y"]


def test_parameters_are_compared_by_what_they_stand_for(tmp_path):
    # gin.macro is the one configurable that Gin itself brings.
    with pytest.raises(UsageError, match=r"X is bound twice: 1 .*run.gin:1\) and 2 .*run.gin:3\)"):
        read(tmp_path, {"run.gin": "X = 1\nX/gin.macro:\n    value = 2\n"})
    assert read(tmp_path, {"run.gin": "X = 1\na/X = 2\n"}).bound[X].value == 1


def test_places_are_lines_of_statements_and_replaced_bindings_are_kept(tmp_path):
    text = "# a comment\nY = [\n    1,\n    2,\n]\n\nX = 1\n" + include("a.gin") + "X = 3\n"
    command = read(tmp_path, {**A1, "run.gin": text.replace("X = 1\n", "")})
    places = {binding.name: binding.place.line for binding in command.bound.values()}
    assert places == {"Y": 2, "X": 8}
    assert [(b.name, b.value) for b in command.replaced] == [("X", 1)]
    above = read(tmp_path, {"top.gin": include("run.gin") + "Y = 2"}, given=("top.gin",))
    assert [b.name for b in above.replaced] == ["X", "Y"]


DYNAMIC = "from __gin__ import dynamic_registration\nfrom flan_jax.core import errors as own\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Y = 1\nX = abc\n", "gin:2: cannot read 'X = abc' as Gin (Failed to parse token 'abc')"),
        ("Y = 1\nX 1\n", "run.gin:2: cannot read 'X 1' as Gin"),
        # Where the statement begins, not where the file ends.
        ("Y = 1\n\n# why\nX = [1,\n", "run.gin:4: cannot read 'X = [1,' as Gin (a bracket or"),
        ("\nX = [1,\nZ = 2\n", "run.gin:3: cannot read 'Z = 2' as Gin (Failed to parse token 'Z'), "
         "in the statement that begins at line 2"),
        ("Y = 1\nX:\n", "run.gin:3: cannot read 'X:' as Gin (Expected indentation"),
        ("X = {[1]: 2}\n", "run.gin:1: unhashable"),
        ("Y = 1\ninclude 'none.gin'\n", "run.gin:2: no Gin file 'none.gin'; looked for none.gin"),
        ("include 'run.gin'\n", "Gin files include each other: DIR/run.gin includes DIR/run.gin"),
        ("import no_such_module\n", "no module 'no_such_module' (DIR/run.gin:1)"),
        ("import flan_jax.core.error\n", "did you mean 'flan_jax.core.errors'?"),
        ("from __gin__ import more\n", "DIR/run.gin:1: "),
        (f"{DYNAMIC}No.x = 1\n", "DIR/run.gin:3: 'No' is not imported; with dynamic_registration"),
        (f"{DYNAMIC}Y = @errors.No()\n", "DIR/run.gin:3: 'errors.No' is not imported"),
        (f"{DYNAMIC}own.UsageEror.x = 1\n", "gin:3: unknown name in own: 'UsageEror'; did you mean "
         "'UsageError'"),
        (f"{DYNAMIC}own.Usage.more.x = 1\n", "unknown name in own: 'Usage'; did you mean 'Usag"),
        (f"{DYNAMIC}own.unknown_name.knd = 1\n", "unknown parameter of unknown_name: 'knd'; did"),
        ("Y = 1\nNo.x = 1\n", "DIR/run.gin:2: unknown configurable 'No'"),
        ("Y = 1\nNo:\n    x = 1\n", "DIR/run.gin:2: unknown configurable 'No'"),
        ("Y = [\n1, {'a': @b/No()}]\n", "DIR/run.gin:1: unknown configurable '@No'"),
        ("a/macro.valu = 1\n", "DIR/run.gin:1: unknown parameter of macro: 'valu'; did you mean"),
    ],
)  # fmt: skip
def test_malformed_text_and_unknown_names_say_where(tmp_path, text, message):
    with pytest.raises(UsageError) as error:
        read(tmp_path, {"run.gin": text})
    assert message.replace("DIR", str(tmp_path)) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_text_is_told(tmp_path):
    (tmp_path / "run.gin").write_bytes(b"X = '\xff'\n")
    with pytest.raises(UsageError, match=r"run.gin: not UTF-8 text .*convert it"):
        read(tmp_path, {})


def test_a_file_beside_its_includer_is_found_with_the_option_that_is_named(tmp_path):
    (tmp_path / "mine").mkdir()
    files = {"mine/run.gin": include("own.gin"), "mine/own.gin": "X = 1\n"}
    with pytest.raises(UsageError, match=f"add --gin_search_paths {tmp_path}/mine"):
        read(tmp_path, files, given=("mine/run.gin",))


@pytest.mark.parametrize("text", ["", "X", "X = 1\nY = 2", "include 'a.gin'", "X = 1 2"])
def test_a_binding_of_the_command_is_one_statement(tmp_path, text):
    with pytest.raises(UsageError, match="^the command line: "):
        read(tmp_path, {"run.gin": ""}, [text])


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1", True), ("-1.5", True), ("'a b'", True), ("None", True), ("{'a': [1, %B]}", True),
     ("abc", False), ("a b", False), ("1 2", False), ("[1", False), ("", False), ("a/b", False)],
)  # fmt: skip
def test_is_value(text, expected):
    assert reading.is_value(text) is expected


def test_files_below_the_working_folder_are_named_from_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"twice: 1 \(run\.gin:1\) and 2 \(run\.gin:2\)"):
        read(tmp_path, {"run.gin": "X = 1\nX = 2\n"}, given=(str(tmp_path / "run.gin"),))
