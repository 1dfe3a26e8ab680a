# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Text from words, triples and attributes.

Each row of the train splits has one text, so several rows share their data. A row of the validation
splits has all its texts: any may be met. So these validate there, not on the last rows of the train
splits, which the published counts leave out all the same.
"""

import re

from flan_jax.collection import spec
from flan_jax.collection.sources import Row
from flan_jax.evals import metrics
from tasks.muffin import declaring, rows

_TAG = re.compile(r"\s*\[[A-Z]+\]\s*")
_ATTRIBUTE = re.compile(r"\s*([^\[\],]+?)\s*\[([^\]]*)\]")


def common_gen(row: Row) -> spec.Fields:
    """Words, in one line and one a line, and a sentence that holds them all."""
    concepts = [word.strip() for word in row["concepts"] if word.strip()]
    fields = {"concepts": ", ".join(concepts), "concepts_newline": "\n".join(concepts)}
    return _with_target(fields, row)


def dart(row: Row) -> spec.Fields:
    """Triples without the tags of the tables they come from, and a text that states them.

    A triple is one string, or a list of its parts as published.
    """
    triples = []
    for triple in row["tripleset"]:
        text = triple if isinstance(triple, str) else " ".join(triple)
        if text := rows.one_line(_TAG.sub(" ", text)):
            triples.append(text)
    return _with_target({"tripleset": "; ".join(triples)}, row)


def e2e_nlg(row: Row) -> spec.Fields:
    """A restaurant's attributes as `name = value`, and a description."""
    text = row["meaning_representation"] if "meaning_representation" in row else row["mr"]
    attributes = _ATTRIBUTE.findall(text)
    if attributes:
        text = ", ".join(f"{name} = {value.strip()}" for name, value in attributes)
    return _with_target({"meaning_representation": text.strip()}, row, "ref")


def web_nlg_en(row: Row) -> spec.Fields:
    """Triples of entity, property and value, commas between these, and a text that states them."""
    triples = [", ".join(part.strip() for part in text.split("|")) for text in row["input"]]
    text = "; ".join(rows.one_line(triple.replace("_", " ")) for triple in triples)
    return _with_target({"input_string": text}, row)


def _with_target(fields: dict[str, str], row: Row, published: str = "") -> spec.Fields:
    target = row["target"] if "target" in row else row[published]
    fields["target"] = target.strip()
    declaring.required(fields, *fields)
    return fields | {"references": rows.distinct([target, *row.get("references", ())])}


def _task(name, fields, licence):
    return declaring.task(
        name,
        f"gem/{name}:1.1.0",
        fields,
        train="train[:-200]",
        validation="validation",
        category="Structured Data to Text",
        licence=licence,
        metrics=(metrics.rouge_l,),
    )


TASKS = (
    _task("common_gen", common_gen, "MIT"),
    _task("dart", dart, "MIT"),
    _task("e2e_nlg", e2e_nlg, "CC-BY-SA-4.0"),
    _task("web_nlg_en", web_nlg_en, "CC-BY-NC-SA-4.0"),
)
