# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Natural-Instructions: what is registered, left out, held out, shown and refused."""

import collections
import importlib
import json
import os
import pickle
import re

import pytest
import seqio

from flan_jax.collection import prompts, registry
from flan_jax.collection.rendering import Dropped, Rendered, render_task
from flan_jax.core.errors import DataError, UsageError
from tasks import niv2, paper
from tests.tasks import family_data

SLOTS = ("definition", "input", "output", "ex.input", "ex.output", "ex.explanation")


@pytest.fixture(autouse=True)
def own_registries(monkeypatch):
    """Gives each test SeqIO registries of its own."""
    monkeypatch.setattr(seqio.TaskRegistry, "_REGISTRY", {})
    monkeypatch.setattr(seqio.MixtureRegistry, "_REGISTRY", {})
    monkeypatch.setattr(registry, "_unavailable", {})
    monkeypatch.setenv(niv2.VARIABLE, "")  # as unset; tests and `register` may set it


@pytest.fixture
def folder(tmp_path):
    """A folder of twelve tasks, one of them made from MMLU."""
    for number in range(11):
        write_task(tmp_path, f"task{number:03}_set{number}_generation")
    write_task(tmp_path, "task664_mmmlu_answer_generation_abstract_algebra")
    (tmp_path / "README.md").write_text("no task")
    return tmp_path


def write_task(folder, stem, num=40, **changes):
    task = {
        "Definition": [f"Say the word of {stem}."],
        "Positive Examples": [
            {"input": "example input", "output": "example output", "explanation": "As shown."},
            {"input": "input 3", "output": "other output", "explanation": "As shown as well."},
        ],
        "Instances": [
            {"id": f"{stem}-{i}", "input": f"input {i}", "output": [f"output {i}", "other"]}
            for i in range(num)
        ],
    } | changes
    (folder / f"{stem}.json").write_text(json.dumps(task))


# Template -> input and target, at seed 0.
GOLDEN = {
    "labelled": ("Task: Name the capital.\n\nInput: Land 387\n\nOutput:", "Town 387"),
    "one_labelled": (
        "Name the capital.\n\nExample input: Italy\nExample output: Rome\nWhy: It is.\n\n"
        "Input: Land 342\nOutput:",
        "Town 342",
    ),
    "two_labelled": (
        "Name the capital.\n\nInput: Land 180\nOutput: Town 180\n\n###\n\n"
        "Input: Land 113\nOutput: Town 113\n\n###\n\nInput: Land 394\nOutput:",
        "Town 394",
    ),
}


def examples(spec, split="train", seed=0):
    return [r for r in render_task(spec, split, seed) if isinstance(r, Rendered)]


def test_templates_have_no_fault_and_are_ten_of_each_style():
    templates = niv2.TEMPLATES.load()
    assert prompts.lint(templates, fields=SLOTS, answer="output") == []
    styles = collections.Counter((t.kind, t.shots, t.embedded_shots) for t in templates)
    assert min(styles.values()) >= 10
    assert set(styles) == {("zero_shot", None, 0), ("few_shot", 0, 1), ("few_shot", 2, 0)}
    assert all("definition" in t.slots for t in templates)


def test_list_of_mmlu_tasks_is_all_that_have_its_name_and_its_numbers():
    numbers = [int(re.fullmatch(r"task(\d+)_mmmlu_\w+", stem)[1]) for stem in niv2.MMLU]
    assert sorted(numbers) == [*range(664, 668), *range(685, 738)]
    assert len(niv2.MMLU) == 57
    assert not any("mmmlu" in name for name in niv2.RELEASED)
    assert niv2.is_mmlu("task664_mmmlu_answer_generation_abstract_algebra")
    assert not niv2.is_mmlu("task670_ambigqa_question_generation")


def test_released_tasks_are_those_of_the_release():
    assert len(niv2.RELEASED) == paper.NUM_RELEASED_TASKS["niv2"] == 1556
    # TFDS has the same names, and those made from MMLU.
    builder = "tensorflow_datasets.datasets.natural_instructions"
    module = importlib.import_module(f"{builder}.natural_instructions_dataset_builder")
    stems = {released.stem for released in niv2.RELEASED.values()}
    assert stems | niv2.MMLU == set(module._NIV2_TASKS_LIST)
    # Sums of NATINST_META_DATA in google-research/FLAN, without and with the cap.
    counts = [released.num_examples for released in niv2.RELEASED.values()]
    assert (sum(counts), sum(min(5000, num) for num in counts)) == (5_030_933, 4_235_910)
    assert niv2.RELEASED["niv2.task1000_pib_translation_tamil_malayalam"][1:] == (
        1496, "Translation", ("English", "Tamil", "Malayalam"),
    )  # fmt: skip


def test_import_registers_every_released_task_without_data():
    importlib.reload(niv2)
    assert len(seqio.MixtureRegistry.get("niv2").tasks) == len(niv2.RELEASED)
    spec = registry.get_spec("niv2.task001_quoref_question_generation")
    assert (spec.cap, spec.category) == (5000, "Question Generation")
    assert spec.few_shot == paper.FEW_SHOT
    assert pickle.loads(pickle.dumps(spec)) == spec


def test_missing_data_is_said_once_for_all_tasks(tmp_path, monkeypatch):
    importlib.reload(niv2)
    told = "1556 of the 1556 tasks of 'niv2' cannot be read: niv2.task001_quoref.*"
    with pytest.raises(UsageError, match=f"{told}: set the environment variable FLAN_JAX_NIV2_DIR"):
        registry.mixture_members("niv2")
    monkeypatch.setenv(niv2.VARIABLE, str(tmp_path / "none"))
    with pytest.raises(UsageError, match=f"{told}: there is no folder .*none, which FLAN_JAX_NIV2"):
        registry.mixture_members("niv2")
    monkeypatch.setenv(niv2.VARIABLE, str(tmp_path))
    with pytest.raises(UsageError, match=f"{told}: no file of this name is in .*; get it from"):
        registry.mixture_members("niv2")
    spec = registry.get_spec("niv2.task001_quoref_question_generation")
    with pytest.raises(UsageError, match="'niv2.task001_quoref_question_generation': no file"):
        list(render_task(spec, "train", 0))


def test_folder_is_looked_up_when_a_task_is_read(tmp_path, monkeypatch):
    importlib.reload(niv2)
    monkeypatch.setenv(niv2.VARIABLE, str(tmp_path))
    write_task(tmp_path, "task002_quoref_answer_generation", num=20)
    write_task(tmp_path, "task001_quoref_question_generation", num=60)
    members = registry.mixture_members("niv2", skip_missing=True)
    # A tenth of the instances validates.
    assert members == {
        "niv2.task001_quoref_question_generation": pytest.approx(0.75),
        "niv2.task002_quoref_answer_generation": pytest.approx(0.25),
    }


def test_either_spelling_of_a_file_name_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv(niv2.VARIABLE, str(tmp_path))
    name = "niv2.task105_story_cloze_rocstories_sentence_generation"
    spec = niv2.released_spec(name)
    assert spec.source.missing()
    write_task(tmp_path, "task105_story_cloze_rocstories_sentence_generation", num=20)
    assert spec.source.missing() is None
    assert spec.source.num_rows("train") == 18
    # A folder that has both is read by the release's spelling, and not listed.
    write_task(tmp_path, "task105_story_cloze-rocstories_sentence_generation", num=30)
    assert spec.source.num_rows("train") == 27
    with pytest.raises(UsageError, match=f"would both be task '{name}'"):
        niv2.register(tmp_path)


def test_spelling_decides_nothing(tmp_path):
    stems = ["task141_odd_man_out_classification_category", "task074_squad1.1_question_generation"]
    for stem in stems:
        write_task(tmp_path, stem)
    members = niv2.register(tmp_path, heldout=[stems[0]])
    assert members["niv2_heldout"] == ["niv2.task141_odd_man_out_classification_category"]
    assert members["niv2_train"] == ["niv2.task074_squad1.1_question_generation"]
    assert [niv2._own_spelling(stem) for stem in stems] == [
        "task141_odd-man-out_classification_category", stems[1]
    ]  # fmt: skip


def test_folder_becomes_tasks_and_two_mixtures(folder):
    members = niv2.register(folder, heldout=["task003_set3_generation"])
    assert members["niv2_heldout"] == ["niv2.task003_set3_generation"]
    assert len(members["niv2_train"]) == 10
    assert not any("mmmlu" in name for name in seqio.TaskRegistry.names())
    assert set(registry.mixture_members("niv2_train")) == set(members["niv2_train"])
    assert not set(members["niv2_train"]) & set(members["niv2_heldout"])
    assert sum(registry.mixture_members("niv2_train").values()) == pytest.approx(1.0)


def test_hash_holds_out_whole_data_sets_the_same_in_any_folder():
    stems = [f"task{i}_set{i % 400}_kind" for i in range(1200)]
    held = {stem for stem in stems if niv2.is_held_out(stem)}
    assert 0.06 < len(held) / 1200 < 0.2
    by_set = collections.defaultdict(set)
    for stem in stems:
        by_set[stem.split("_")[1]].add(stem in held)
    assert all(len(sides) == 1 for sides in by_set.values())
    # Fixed for good: another choice would train on what earlier runs held out.
    known = {"task933_wiki_auto_style_transfer": True, "task1146_country_capital": False}
    assert {stem: niv2.is_held_out(stem) for stem in known} == known


def test_prompts_come_in_the_three_styles_in_their_shares(folder):
    write_task(folder, "task900_big_generation", num=2200)
    spec = niv2.task_spec(folder / "task900_big_generation.json")
    found = collections.Counter()
    for r in examples(spec):
        assert "Say the word of task900_big_generation." in r.inputs
        style = ("example" if "As shown" in r.inputs else "pair") if r.meta["num_shots"] else "zero"
        assert r.meta["num_shots"] == {"example": 1, "pair": 2, "zero": 0}[style]
        found[style] += 1
    assert found.total() == 2100
    assert abs(found["zero"] - 1050) < 100
    assert abs(found["example"] - 525) < 90 and abs(found["pair"] - 525) < 90


def test_prompts_of_each_style_are_written_out(tmp_path):
    write_task(
        tmp_path,
        "task1_capital_of",
        Definition=["Name the capital."],
        **{"Positive Examples": [{"input": "Italy", "output": "Rome", "explanation": "It is."}]},
        Instances=[{"input": f"Land {i}", "output": [f"Town {i}"]} for i in range(400)],
    )
    spec = niv2.task_spec(tmp_path / "task1_capital_of.json")
    shown = {r.meta["template"]: r for r in examples(spec)}
    assert set(shown) == {template.id for template in niv2.TEMPLATES.load()}
    assert not any("{" in r.inputs + r.targets for r in shown.values())
    golden = {name: (shown[name].inputs, shown[name].targets) for name in GOLDEN}
    assert golden == GOLDEN


def test_all_outputs_are_references_and_one_is_drawn(folder):
    rendered = examples(niv2.task_spec(folder / "task001_set1_generation.json"))
    for r in rendered:
        assert sorted(r.references) == sorted([f"output {r.index}", "other"])
        assert r.references[0] == r.targets
    assert len({r.targets == "other" for r in rendered}) == 2


def test_query_is_never_its_own_positive_example(folder):
    spec = niv2.task_spec(folder / "task002_set2_generation.json")
    for seed in range(20):
        for r in [*examples(spec, seed=seed), *examples(spec, "validation", seed)]:
            shown = "other output" in r.inputs
            assert not (shown and r.index == 3)


def test_validation_is_disjoint_from_train_and_small(folder):
    write_task(folder, "task901_big_generation", num=3000)
    spec = niv2.task_spec(folder / "task901_big_generation.json")
    assert (spec.source.num_rows("train"), spec.source.num_rows("validation")) == (2900, 100)
    sides = [{row["input"] for _, row in spec.source.rows(s)} for s in spec.splits]
    assert sides[0].isdisjoint(sides[1])


def test_cap_is_five_thousand(folder):
    write_task(folder, "task902_huge_generation", num=5200)
    spec = niv2.task_spec(folder / "task902_huge_generation.json")
    results = list(render_task(spec, "train", 0))
    assert sum(isinstance(r, Rendered) for r in results) == 5000 and len(results) == 5100


def test_empty_outputs_and_inputs_are_dropped_and_counted(folder):
    instances = [{"input": f"i{i}", "output": ["x"]} for i in range(20)]
    instances += [{"input": "a", "output": ["", " "]}, {"input": " ", "output": "x"}]
    write_task(folder, "task903_gaps_generation", Instances=instances)
    spec = niv2.task_spec(folder / "task903_gaps_generation.json")
    dropped = collections.Counter(
        r.reason for s in spec.splits for r in render_task(spec, s, 0) if isinstance(r, Dropped)
    )
    assert dropped == {"empty output": 1, "empty input": 1}


def test_tasks_without_positive_examples_use_the_other_templates(folder):
    write_task(folder, "task904_bare_generation", **{"Positive Examples": []})
    rendered = examples(niv2.task_spec(folder / "task904_bare_generation.json"))
    assert {r.meta["num_shots"] for r in rendered} == {0, 2}


def test_spread_takes_categories_in_turn_then_data_sets():
    stems = [
        "task067_abductivenli_answer_generation",  # Story Composition
        "task071_abductivenli_answer_generation",
        "task072_abductivenli_answer_generation",
        "task093_conala_normalize_lists",  # Program Execution
        "task094_conala_calculate_mean",
        "task1289_trec_classification",  # Question Understanding, as the next
        "task899_freebase_qa_topic_generation",
        "task900_freebase_qa_category_classification",
    ]
    order = niv2.spread(stems, len(stems))
    kinds = [(niv2.RELEASED[niv2.task_name(s)].category, s.split("_")[1]) for s in order]
    assert sorted(order) == stems
    assert [len({c for c, _ in kinds[i : i + 3]}) for i in (0, 3)] == [3, 3]
    # Of the three about questions the first two are of different data sets.
    asked = [data_set for category, data_set in kinds if category == "Question Understanding"]
    assert set(asked[:2]) == {"trec", "freebase"}
    # Neither the order given nor a task that comes later decides anything.
    assert niv2.spread(reversed(stems), 5) == niv2.spread(order[:5], 9) == order[:5]


def test_order_of_tasks_is_fixed_for_good():
    stems = [f"task{number:03}_set{number}_generation" for number in range(8)]
    # Another order would make curves of other tasks of the same names.
    assert [int(stem[4:7]) for stem in niv2.spread(stems, 4)] == [7, 0, 2, 5]


def test_nested_mixtures_hold_the_first_training_tasks(folder):
    for number in range(20, 50):
        write_task(folder, f"task{number:03}_set{number}_generation")
    train = niv2.register(folder, heldout=["task003_set3_generation"])["niv2_train"]
    few, more = (set(registry.mixture_members(f"niv2_train_{size}")) for size in (4, 16))
    assert (len(few), len(more), len(train)) == (4, 16, 40)
    assert few < more < set(train)
    with pytest.raises(UsageError, match="'niv2_train_64' is not available: .* only 40 task"):
        registry.mixture_members("niv2_train_64")


def test_bad_file_is_named_when_read_not_when_registered(folder):
    (folder / "task905_bad_generation.json").write_text("{")
    niv2.register(folder)
    spec = registry.get_spec("niv2.task905_bad_generation")
    with pytest.raises(DataError, match=r"task905_bad_generation\.json:1: not valid JSON"):
        list(render_task(spec, "train", 0))


def test_names_seqio_does_not_allow_are_changed_and_clashes_refused(folder):
    write_task(folder, "task906_a-b_generation")
    assert "niv2.task906_a_b_generation" in niv2.register(folder, heldout=[])["niv2_train"]
    write_task(folder, "task906_a_b_generation")
    with pytest.raises(UsageError, match="would both be task 'niv2.task906_a_b_generation'"):
        niv2.register(folder)


def test_wrong_folders_and_heldout_names_are_told(folder, tmp_path):
    with pytest.raises(UsageError, match="No such file or directory; correct FLAN_JAX_NIV2_DIR"):
        niv2.register(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"no task\*.json file in it"):
        niv2.register(tmp_path / "empty")
    with pytest.raises(UsageError, match="'task9_x' is no task file of .*; name stems such as"):
        niv2.register(folder, heldout=["task9_x"])


def test_import_without_the_variable_leaves_mixtures_that_tell_the_remedy():
    importlib.reload(niv2)
    for mixture in (*niv2.FOLDER_MIXTURES, *niv2.NESTED_MIXTURES.values()):
        with pytest.raises(UsageError, match=f"'{mixture}' is not available: set the environment"):
            registry.mixture_members(mixture)


def test_import_with_the_variable_registers_the_folder(folder, monkeypatch):
    write_task(folder, "task001_quoref_question_generation")
    monkeypatch.setenv(niv2.VARIABLE, str(folder))
    importlib.reload(niv2)
    found = {name for m in niv2.FOLDER_MIXTURES for name in registry.mixture_members(m)}
    released = {"niv2.task001_quoref_question_generation"}
    assert found == {niv2.task_name(p.stem) for p in folder.glob("*generation.json")}
    assert found & set(niv2.RELEASED) == released
    assert set(registry.mixture_members("niv2", skip_missing=True)) == released


def test_registering_a_folder_after_import_makes_it_the_one_that_is_read(folder):
    importlib.reload(niv2)
    write_task(folder, "task001_quoref_question_generation", num=20)
    niv2.register(folder)
    spec = registry.get_spec("niv2.task001_quoref_question_generation")
    assert spec.source.num_rows("train") == 18
    assert os.environ[niv2.VARIABLE] == str(folder)


def test_import_with_a_wrong_folder_tells_it_when_used(tmp_path, monkeypatch):
    monkeypatch.setenv(niv2.VARIABLE, str(tmp_path / "none"))
    importlib.reload(niv2)
    with pytest.raises(UsageError, match="none: No such file or directory; correct"):
        registry.mixture_members("niv2_train")


def test_mixture_with_no_member_says_so(tmp_path):
    write_task(tmp_path, "task001_one_generation")
    niv2.register(tmp_path, heldout=[])
    with pytest.raises(UsageError, match="'niv2_heldout' is not available: none of the 1 tasks"):
        registry.mixture_members("niv2_heldout")


def test_real_tasks_render():
    folder = family_data.shared_folder() / "train/natural_instructions"
    for part in ("tasks", "variant_schema"):
        for path in sorted((folder / part).glob("*.json"))[::5]:
            spec = niv2.task_spec(path)
            results = [r for s in spec.splits for r in render_task(spec, s, 0)]
            assert all(isinstance(r, Rendered) for r in results) and len(results) > 20
