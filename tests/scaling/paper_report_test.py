# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The paper's own report: cells as printed, what follows beside them, and the files."""

import csv

import pytest

from flan_jax import main
from flan_jax.scaling import paper_report, tables


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return paper_report.write(tmp_path_factory.mktemp("paper"))


def rows(made, name):
    path = next(path for path in made.files if path.name == f"{name}.csv")
    return list(csv.DictReader(path.read_text().splitlines()))


def test_table_2_has_the_printed_cells_and_the_rules_beside_them(made):
    found = {row["Model"]: list(row.values())[3:9] for row in rows(made, "table2")}
    assert found["Flan-T5-Small"] == ["1.8e+20", "1.8e+20", "2.9e+18", "2.9e+18", "1.6", "1.6"]
    assert found["Flan-T5-XXL"] == ["3.3e+22", "3.3e+22", "7.6e+19", "7.6e+19", "0.2", "0.2"]
    assert found["Flan-PaLM 540B"] == ["2.5e+24", "2.5e+24", "5.6e+21", "5.6e+21", "0.2", "0.2"]
    # The two cells that do not fit: ten times too little, and the steps of another row.
    assert found["Flan-U-PaLM"] == ["2.5e+23", "2.5e+24", "5.6e+21", "8.0e+21", "0.2", "0.3"]
    note = paper_report.table_2().note
    assert "2.5e23 must be 2.5e24" in note and "5.6e21 fits 21k steps" in note
    assert "512 TPU v4 chips for 37 hours" in note and "30% of their peak" in note


def test_table_3_has_the_printed_cells(made):
    found = {(row["Size"], row["Tasks"]): list(row.values())[3:] for row in rows(made, "table3")}
    assert len(found) == 15
    assert found["8B", "9"] == ["8.3", "26.3", "32.1", "19.8", "26.6", "39.3", "10.4"]
    assert found["540B", "1,836"] == ["58.5", "73.2", "68.1", "58.8", "65.6", "67.4", "61.3"]


def test_table_5_has_the_printed_cells_the_gain_and_the_average_from_its_parts(made):
    found = {row["Model"]: list(row.values())[2:] for row in rows(made, "table5")}
    assert len(found) == 20
    assert found["Flan-T5-XL"] == [
        "19.1", "23.2", "19.2", "52.4", "45.5", "41.0", "35.2", "16.6", "1.9"
    ]  # fmt: skip
    assert found["PaLM 540B"][:3] == ["49.1", "", "48.8"]
    gains = [row[1] for row in found.values() if row[1]]
    assert gains == ["6.1", "11.6", "18.8", "23.2", "26.6", "15.5", "10.4", "9.3", "8.6", "8.9"]


def test_every_table_and_figure_has_its_files(made):
    names = {path.name for path in made.files}
    assert {f"table{n}.{end}" for n in (2, 3, 4, 5) for end in ("md", "csv", "tex")} < names
    figures = ("task_scaling", "size_scaling", "compute", "headline")
    assert {f"paper_{name}.{end}" for name in figures for end in ("png", "svg", "pdf")} < names
    assert all(path.stat().st_size > 100 for path in made.files)
    assert all(tables.markdown(make()) in made.text for make in paper_report.TABLES.values())


def test_lines_go_from_small_to_large_models():
    size, compute = paper_report.size_scaling(), paper_report.compute_scaling()
    for figure in (size, compute):
        assert [line.label for line in figure.panels[0].lines] == [
            "T5",
            "Flan-T5",
            "PaLM",
            "Flan-PaLM",
        ]
        assert all(line.x == tuple(sorted(line.x)) for line in figure.panels[0].lines)
    t5 = size.panels[0].lines[1]
    assert (t5.x[0], t5.y[0], t5.x[-1], t5.y[-1]) == (80e6, -3.1, 11e9, 23.7)


def test_the_command_writes_the_same_bytes_and_takes_no_folder(made, tmp_path, capsys):
    out = tmp_path / "out"
    assert main.main(["report", "--paper", "--out", str(out)]) == 0
    assert "| Flan-T5-XL | 3B | enc-dec | 9.0e+21 |" in capsys.readouterr().out
    for path in made.files:
        assert (out / path.name).read_bytes() == path.read_bytes(), path.name
    assert main.main(["report", "--paper", str(tmp_path), "--out", str(out)]) == 2
    assert "--paper reports on the paper alone; leave out folders" in capsys.readouterr().err
