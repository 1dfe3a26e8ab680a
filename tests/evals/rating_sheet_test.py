# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sheets and keys: what raters see, byte for byte the same for a seed, and read back as it was."""

import csv
import html.parser
import json
import re

import pytest

from flan_jax.core import errors
from flan_jax.evals import open_ended, rating_sheet
from tests.evals import open_ended_folders


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    a, b = open_ended_folders.two(tmp_path_factory.mktemp("models"))
    return open_ended.pairs(open_ended.read_answers(a), open_ended.read_answers(b), 7)[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, pairs):
    folder = tmp_path_factory.mktemp("sheets")
    rating_sheet.write_sheet(folder, "sheet", pairs)
    rating_sheet.write_key(folder / "key.csv", pairs, ("aardvark", "=zebra"))
    return folder


def test_a_sheet_has_the_pairs_in_order_and_nothing_chosen(folder, pairs):
    with open(folder / "sheet.csv", encoding="utf-8-sig", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["id", "category", "prompt", "left", "right", "choice"]
    assert [row[:2] + row[5:] for row in rows] == [[p.id, p.category, ""] for p in pairs]
    formulas = [cell for row in rows for cell in row if cell[:1] in ("=", "+", "-", "@")]
    assert formulas == []  # no spreadsheet computes a model's answer
    guarded = [cell for row in rows for cell in row if cell.startswith("'")]
    assert len(guarded) > 8


def test_what_was_written_is_read_back(folder, pairs):
    key = rating_sheet.read_key(folder / "key.csv")
    rows = list(rating_sheet.read_sheet(folder / "sheet.csv"))
    assert [row.pair for row in rows] == [(p.category, p.id) for p in pairs]
    assert [row.sha256 for row in rows] == [p.digest() for p in pairs]
    assert all(row.choice is None for row in rows)
    assert {(name, k.left, k.sha256) for name, k in key.items()} == {
        ((p.category, p.id), p.left_model, p.digest()) for p in pairs
    }
    assert {k.models for k in key.values()} == {("aardvark", "=zebra")}


def test_raters_cannot_see_which_model_it_is(folder, pairs):
    for name in ("sheet.csv", "sheet.html"):
        text = (folder / name).read_text(encoding="utf-8")
        for secret in ("aardvark", "zebra", pairs[0].digest()):
            assert secret not in text, name


def test_the_same_pairs_give_the_same_bytes(folder, pairs, tmp_path):
    rating_sheet.write_sheet(tmp_path, "sheet", pairs)
    rating_sheet.write_key(tmp_path / "key.csv", pairs, ("aardvark", "=zebra"))
    for name in ("sheet.csv", "sheet.html", "key.csv"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    rating_sheet.write_key(tmp_path / "key.csv", pairs[::-1], ("aardvark", "=zebra"))
    assert (tmp_path / "key.csv").read_bytes() == (folder / "key.csv").read_bytes()


def test_a_spreadsheet_may_change_line_ends_quotes_order_and_add_columns(folder, pairs, tmp_path):
    with open(folder / "sheet.csv", encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    path = tmp_path / "saved.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*reversed(rating_sheet.COLUMNS), "remark"])
        writer.writeheader()
        for row in rows[::-1]:
            row = {k: v.replace("\r\n", "\n").replace("\n", "\r\n") for k, v in row.items()}
            writer.writerow({**row, "choice": " Tie", "remark": "hard"})
        writer.writerow(dict.fromkeys([*rating_sheet.COLUMNS, "remark"], ""))
    found = list(rating_sheet.read_sheet(path))
    assert [row.sha256 for row in found] == [p.digest() for p in pairs[::-1]]
    assert {row.choice for row in found} == {"tie"}


@pytest.mark.parametrize("text", open_ended_folders.CHANGED)
def test_what_spreadsheets_change_is_guarded_and_read_back(tmp_path, text):
    shown = open_ended.Pair(
        category="c", id=text, prompt=text, left=text, right=f"'{text}", left_model="a"
    )
    rating_sheet.write_sheet(tmp_path, "sheet", [shown])
    with open(tmp_path / "sheet.csv", encoding="utf-8-sig", newline="") as file:
        row = list(csv.reader(file))[1]
    assert row == [f"'{text}", "c", f"'{text}", f"'{text}", f"''{text}", ""]
    (read,) = rating_sheet.read_sheet(tmp_path / "sheet.csv")
    assert read.pair == ("c", text) and read.sha256 == shown.digest()


@pytest.mark.parametrize(
    "text", ["planning_01", "x2", "Yes, of the 3 the second is best. Here is why."]
)
def test_other_texts_stand_as_they_are(tmp_path, text):
    shown = open_ended.Pair(
        category="c", id=text, prompt="'" + text, left="", right="'", left_model="a"
    )
    rating_sheet.write_sheet(tmp_path, "sheet", [shown])
    with open(tmp_path / "sheet.csv", encoding="utf-8-sig", newline="") as file:
        row = list(csv.reader(file))[1]
    assert row == [text, "c", f"'{text}", "", "'", ""]
    (read,) = rating_sheet.read_sheet(tmp_path / "sheet.csv")
    assert read.sha256 == shown.digest()


def test_pairs_are_shared_evenly_and_each_goes_to_so_many(pairs):
    for num_raters, num_per_pair in ((1, 1), (3, 1), (3, 2), (4, 4), (7, 3)):
        shares = rating_sheet.split(pairs, num_raters, num_per_pair)
        seen = [pair for share in shares for pair in share]
        assert all(seen.count(pair) == num_per_pair for pair in pairs)
        assert all(len({p.id for p in share}) == len(share) for share in shares)
        sizes = [len(share) for share in shares]
        assert max(sizes) - min(sizes) <= num_per_pair


class Page(html.parser.HTMLParser):
    """Collects tags, attributes and the text of scripts and of the style; tags must close."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.texts = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attributes]
        if tag != "meta":
            self.open.append(tag)
        if tag in ("script", "style"):
            self.texts.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("script", "style"):
            self.texts[-1] += data


def test_the_page_holds_all_that_it_needs_and_text_as_text_only(folder, pairs):
    page = Page((folder / "sheet.html").read_text(encoding="utf-8"))
    style, data, script = page.texts
    assert json.loads(data)["rows"] == [
        [p.id, p.category, p.prompt, p.left, p.right] for p in pairs
    ]
    assert not re.search("[<>&\u2028\u2029]", data)
    assert page.tags.count("script") == 2 and "img" not in page.tags
    for name in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(",
                 "new Function", "DOMParser", "fetch(", "XMLHttpRequest", "import("):  # fmt: skip
        assert name not in script, name
    for _, name, _ in page.attributes:
        assert name not in ("src", "srcset", "href", "action") and not name.startswith("on")
    (policy,) = [v for _, _, v in page.attributes if v and "default-src" in v]
    assert policy.startswith("default-src 'none'")
    assert not re.search(r"url\(|@import|https?://", style)


def test_two_raters_of_the_same_pairs_have_choices_of_their_own(pairs):
    pages = [rating_sheet.render_page(name, pairs) for name in ("sheet_1", "sheet_2", "sheet_1")]
    first, second, again = (json.loads(Page(page).texts[1])["sha256"] for page in pages)
    assert first == again != second


def refused(read, path, text, said):
    path.write_text(text, encoding="utf-8")
    with pytest.raises(errors.DataError, match=said):
        list(read(path))


def test_what_is_no_sheet_is_told(tmp_path):
    path, read = tmp_path / "s.csv", rating_sheet.read_sheet
    header = "id,category,prompt,left,right,choice\n"
    refused(read, path, "", "s.csv: the file is empty")
    refused(read, path, header.replace(",", ";"), "s.csv:1: 0 columns 'id'; .* with commas")
    refused(read, path, header.replace("left", "right"), "s.csv:1: 0 columns 'left'")
    refused(read, path, header.replace("\n", ",choice\n"), "s.csv:1: 2 columns 'choice'")
    refused(read, path, f"{header}a,b,c,d,e\n", "s.csv:2: 5 cells below 6 columns")
    refused(read, path, f'{header}a,b,c,d,e,\na,b,"c\nc",d,e,both\n', "s.csv:3: .* got 'both'")
    path.write_bytes(header.encode() + b"a,b,\xe9,d,e,\n")
    with pytest.raises(errors.DataError, match="s.csv:2: .*UTF-8"):
        list(read(path))


def test_what_is_no_key_is_told(tmp_path):
    path, read = tmp_path / "k.csv", rating_sheet.read_key
    header = "id,category,a,b,left,sha256\n"
    refused(read, path, header, "k.csv: the key has no row")
    refused(read, path, "id,category,prompt,left,right,choice\n", "0 columns 'a'; .* key.csv")
    refused(read, path, f"{header}i,c,m,n,left,0\n", "k.csv:2: 'left' must be a or b, got 'left'")
    refused(read, path, f"{header}i,c,m,n,a,0\ni,c,m,n,b,0\n", "k.csv:3: .*'i' of 'c'.* twice")
    refused(read, path, f"{header}i,c,m,n,a,0\nj,c,m,o,b,0\n", "k.csv:3: other models")
