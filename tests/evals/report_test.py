# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The report of an evaluation: numbers put in by hand come out where they belong."""

import dataclasses

import pytest

from flan_jax.core import errors
from flan_jax.evals import report
from flan_jax.evals import scores as scores_lib
from flan_jax.evals.scores import Score
from flan_jax.paper import parts, results


def rows(benchmark, protocol, values, metric="exact_match", *, n=100, groups=None, unparsed=None):
    """Rows as an evaluation gives them: of each subtask, then the means."""

    def score(subtask, name, value, stderr):
        return Score(
            model="tiny", step=70, benchmark=benchmark, protocol=protocol, subtask=subtask,
            metric=name, value=value, n=n, stderr=stderr,
        )  # fmt: skip

    found = []
    for subtask, value in values.items():
        found.append(score(subtask, metric, value, 3.0))
        found.append(score(subtask, f"{metric}/flexible", value + 1, 3.0))
        if unparsed is not None:
            found.append(score(subtask, "unparsed", unparsed, None))
    means = scores_lib.macro_means(found) + scores_lib.group_means(found, groups or {})
    return [*found, *means]


def table(text, title):
    """The cells of the table below a heading, row by row, the heading's first."""
    section = text.split(f"\n## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [
        [c.strip() for c in line.strip("|").split(" | ")] for line in lines if "---" not in line
    ]


def bbh(value):
    return {file.file: value for file in parts.bbh_files()}


def test_the_headline_table_has_score_error_guessing_and_the_papers_number():
    mmlu = rows("mmlu", "5-shot direct; validation; generate", {"law": 40.0, "virology": 60.0})
    ranked = rows("mmlu", "5-shot direct; validation; rank", {"law": 30.0}, "accuracy")
    other = rows("gsm8k", "8-shot CoT; test; generate", {"gsm8k": 7.0})
    text = report.markdown(
        [*mmlu, *ranked, *other],
        baselines={("mmlu", "law"): 25.0, ("mmlu", "virology"): 25.0, ("gsm8k", "gsm8k"): 0.0},
        paper_model="Flan-T5-XL",
    )
    error = (3.0**2 + 3.0**2) ** 0.5 / 2
    assert table(text, "Scores") == [
        ["Benchmark", "Asked", "Metric", "Score", "Questions", "Subtasks", "Guessing", "Paper",
         "Difference"],
        ["mmlu", "5-shot direct; validation; generate", "exact_match", f"50.0 ± {error:.1f}", "200",
         "2", "25.0", "52.4", "-2.4"],
        ["mmlu", "5-shot direct; validation; rank", "accuracy", "30.0 ± 3.0", "100", "1", "25.0",
         "", ""],
        ["gsm8k", "8-shot CoT; test; generate", "exact_match", "7.0 ± 3.0", "100", "1", "0.0", "",
         ""],
    ]  # fmt: skip
    assert text.startswith("# Evaluation of tiny, step 70\n")
    assert "those of Flan-T5-XL (Chung et al. 2022 (arXiv:2210.11416v5) Table 5" in text
    assert ["gsm8k", "8-shot CoT; test; generate", "exact_match/flexible", "8.0"] in table(
        text, "Other measures"
    )


def test_without_a_model_of_the_paper_there_is_no_column_of_it():
    text = report.markdown(
        rows("mmlu", "5-shot direct; validation; generate", {"law": 40.0}),
        baselines={("mmlu", "law"): 25.0},
    )
    assert table(text, "Scores")[0][-1] == "Guessing" and "paper's numbers" not in text
    assert "## BBH" not in text and "## MGSM" not in text and "## Groups" not in text


def test_mmlu_on_the_test_split_stands_beside_table_4():
    test = rows("mmlu_cot", "5-shot CoT; test; generate", {"law": 70.0})
    for model, printed in {"Flan-PaLM 540B": ["70.2", "-0.2"], "Flan-T5-XL": ["", ""]}.items():
        text = report.markdown(test, baselines={}, paper_model=model)
        assert table(text, "Scores")[1][-2:] == printed
        assert ("the paper's Table 4." in text) == (printed[0] != "")
        assert ("the paper has only the 540B models (its Table 4)" in text) == (printed[0] == "")
        assert table(text, "Scores")[1][-3] == ""  # nobody said what guessing scores


def test_groups_stand_beside_the_means_of_the_papers_files():
    groups = {
        group: [file.file for file in parts.bbh_files() if file.group == group]
        for group in ("nlp", "alg")
    }
    text = report.markdown(
        rows("bbh", "3-shot direct; test; generate", bbh(50.0), groups=groups),
        baselines={("bbh", file.file): file.baseline for file in parts.bbh_files()},
        paper_model="Flan-PaLM 540B",
    )
    headline = next(row for row in results.headline() if row.model == "Flan-PaLM")
    found = {row[2]: row[3:] for row in table(text, "Groups of subtasks")[1:]}
    assert found["nlp"][:2] == ["12", "50.0"] and found["alg"][:2] == ["15", "50.0"]
    assert float(found["nlp"][2]) == pytest.approx(headline.bbh_nlp, abs=0.1)
    assert float(found["alg"][2]) == pytest.approx(headline.bbh_alg, abs=0.1)


def test_parts_stand_beside_the_papers_and_what_was_not_legible_is_said():
    direct = rows("bbh", "3-shot direct; test; generate", bbh(50.0))
    cot = rows("bbh_cot", "3-shot CoT; test; generate", bbh(40.0))
    zero = rows("bbh_zero_shot", "0-shot direct; test; generate", {"snarks": 10.0})
    text = report.markdown(
        [*direct, *cot, *zero],
        baselines={(b, f.file): f.baseline for b in ("bbh", "bbh_cot") for f in parts.bbh_files()},
        paper_model="Flan-T5-Base",
    )
    cells = table(text, "BBH by file")
    assert cells[0] == [
        "File", "bbh, 3-shot direct; test; generate", "paper",
        "bbh_cot, 3-shot CoT; test; generate",
        "paper", "bbh_zero_shot, 0-shot direct; test; generate",
    ]  # fmt: skip
    by_file = {row[0]: row[1:] for row in cells[1:]}
    assert len(by_file) == 27
    printed = {
        (part.benchmark, part.part): part
        for part in parts.parts()
        if (part.model, part.params) == ("Flan-T5-Base", "250M")
    }
    assert by_file["snarks"] == [
        "50.0 ± 3.0", f"{printed['bbh', 'snarks'].score:.1f}",
        "40.0 ± 3.0", f"{printed['bbh_cot', 'snarks'].score:.1f}", "10.0 ± 3.0",
    ]  # fmt: skip
    assert printed["bbh_cot", "temporal_sequences"].status == parts.SOLVED
    assert by_file["temporal_sequences"][3] == "~18.5" and "~: not legible" in text


def test_a_number_that_was_only_assumed_is_not_shown():
    text = report.markdown(
        rows("bbh", "3-shot direct; test; generate", bbh(50.0)),
        baselines={("bbh", file.file): file.baseline for file in parts.bbh_files()},
        paper_model="Flan-U-PaLM",
    )
    by_file = {row[0]: row[1:] for row in table(text, "BBH by file")}
    assert by_file["word_sorting"][1] == "" and by_file["snarks"][1] != ""


def test_languages_stand_beside_the_papers():
    mgsm = rows("mgsm", "8-shot CoT; test; generate", {"bn": 1.0, "de": 2.0})
    text = report.markdown(
        mgsm, baselines={("mgsm", "bn"): 0.0, ("mgsm", "de"): 0.0}, paper_model="PaLM 540B"
    )
    printed = {
        part.part: f"{part.score:.1f}"
        for part in parts.parts()
        if (part.model, part.params, part.benchmark) == ("PaLM", "540B", "mgsm")
    }
    assert table(text, "MGSM by language")[1:] == [
        ["bn", "1.0 ± 3.0", printed["bn"]],
        ["de", "2.0 ± 3.0", printed["de"]],
    ]
    assert "No normalized_average; it lacks mmlu (0 of 57 subtasks), mmlu_cot" in text
    assert "mgsm (2 of 10 subtasks)" in text


def test_normalized_averages_of_the_papers_own_numbers():
    row = results.named_model("Flan-T5-XXL")
    scores = []
    for benchmark, num, metric, split in (
        ("mmlu", 57, "exact_match", "validation"), ("mmlu_cot", 57, "exact_match", "validation"),
        ("tydiqa", 8, "squad_em_multilingual", "validation"), ("mgsm", 10, "exact_match", "test"),
    ):  # fmt: skip
        values = {f"part{number}": row.score(benchmark) for number in range(num)}
        scores += rows(benchmark, f"asked; {split}; generate", values, metric)
    for benchmark in ("bbh", "bbh_cot"):
        own = {
            part.part: part.score
            for part in parts.parts()
            if (part.model, part.benchmark) == ("Flan-T5-XXL", benchmark)
        }
        scores += rows(benchmark, "asked; test; generate", own)
    of_bbh = {file.file: file.baseline for file in parts.bbh_files()}
    baselines = {
        (s.benchmark, s.subtask): of_bbh.get(s.subtask, 25.0 if "mmlu" in s.benchmark else 0.0)
        for s in scores
    }
    text = report.markdown(scores, baselines=baselines, paper_model="Flan-T5-XXL")
    cells = table(text, "Normalized averages")
    assert [cell[0] for cell in cells[1:]] == [
        "normalized_average", "normalized_average_cot", "normalized_average_direct"
    ]  # fmt: skip
    assert cells[1][2].startswith("23.7 ± ") and cells[1][3] == "23.7"
    assert cells[2][3:] == ["", ""]  # the paper prints none of these
    assert "it lacks" not in text and "test split" not in text
    on_test = [
        dataclasses.replace(s, protocol=s.protocol.replace("validation", "test")) for s in scores
    ]
    text = report.markdown(on_test, baselines=baselines, paper_model="Flan-T5-XXL")
    assert table(text, "Normalized averages")[1][3:] == ["", ""]
    assert "\nMMLU is on its test split here" in text
    mixed = [new if s.benchmark == "mmlu" else s for s, new in zip(scores, on_test, strict=True)]
    text = report.markdown(mixed, baselines=baselines, paper_model="Flan-T5-XXL")
    assert table(text, "Normalized averages")[1][3:] == ["", ""]
    assert "One form of MMLU is on its test split here" in text
    assert report.markdown(scores, baselines=baselines).count("normalized_average_cot") == 1


def test_counts_of_prompts_and_of_answers_without_an_answer():
    protocol = "5-shot direct; test; generate"
    scores = rows("mmlu", protocol, {"law": 40.0, "virology": 60.0}, n=200, unparsed=1.5)
    number = {"prompts": 400, "dropped": 3, "dropped_exemplars": 7, "too_long": 1, "cut": 9}
    for key in (f"mmlu ({protocol})", "mmlu"):
        text = report.markdown(scores, baselines={}, counts={key: number})
        assert table(text, "Prompts and answers")[1] == [
            "mmlu",
            protocol,
            "400",
            "3",
            "7",
            "1",
            "9",
            "6",
        ]
    assert "unparsed" not in text


def test_what_cannot_be_reported_is_refused():
    scores = rows("mmlu", "5-shot direct; test; generate", {"law": 40.0})
    with pytest.raises(errors.UsageError, match="unknown model of the paper 'Flan-T5'"):
        report.markdown(scores, baselines={}, paper_model="Flan-T5")
    with pytest.raises(ValueError, match="one model at one step"):
        report.markdown([], baselines={})


def test_a_report_is_written_whole(tmp_path):
    scores = rows("mmlu", "5-shot | direct; test; generate", {"law": 40.0})
    report.write(tmp_path / "out" / "report.md", scores, baselines={})
    text = (tmp_path / "out" / "report.md").read_text()
    assert text == report.markdown(scores, baselines={}) and r"5-shot \| direct" in text


def test_a_sample_of_the_questions_is_said_to_be_one():
    scores = rows("mmlu", "5-shot direct; test; generate", {"law": 40.0, "virology": 60.0}, n=20)
    text = report.markdown(scores, baselines={}, num_examples=20)
    assert "Not all were asked: of each subtask at most 20" in text
    assert "Not all were asked" not in report.markdown(scores, baselines={})
