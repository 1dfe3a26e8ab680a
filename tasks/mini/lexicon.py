# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The words of the mini collection: what notes speak of, and how instructions put it.

The lexicon is closed and small on purpose: a model of a quarter million parameters, trained for
half a minute, cannot learn to copy open text.
"""

# What a note says, one value of each; plural things, so that any number fits.
VALUES = {
    "owner": ("Anna", "Ben", "Carl", "Dora", "Emil", "Fay", "Gus", "Hana"),
    "number": ("two", "three", "four", "five", "six", "seven"),
    "color": ("red", "blue", "green", "pink", "gray", "black", "white", "brown"),
    "thing": ("cats", "dogs", "kites", "balls", "saws", "rakes", "hats", "coats"),
    "city": ("Rome", "Paris", "Oslo", "Lima", "Cairo", "Delhi", "Bonn", "Quito"),
}

# What follows from a value but is not said: derived fact -> (fact it follows from, table).
DERIVED = {
    "country": (
        "city",
        {
            "Rome": "Italy", "Paris": "France", "Oslo": "Norway", "Lima": "Peru",
            "Cairo": "Egypt", "Delhi": "India", "Bonn": "Germany", "Quito": "Ecuador",
        },
    ),
    "kind": (
        "thing",
        {
            "cats": "animals", "dogs": "animals", "kites": "toys", "balls": "toys",
            "saws": "tools", "rakes": "tools", "hats": "clothes", "coats": "clothes",
        },
    ),
}  # fmt: skip

# A rationale states these before the answer.
RATIONALES = {
    "country": "The city is {given}, and {given} is in {answer}.",
    "kind": "The things are {given}, and {given} are {answer}.",
}
READ_RATIONALE = "The note says {answer}."

NOTES = (
    "{owner} has {number} {color} {thing} in {city}.",
    "In {city}, {owner} saw {number} {color} {thing}.",
    "The {number} {color} {thing} of {owner} are in {city}.",
    "{owner} took {number} {thing} to {city}, and all are {color}.",
)

# How an instruction calls each fact.
NAMES = {
    "owner": ("the owner", "the person", "the name"),
    "number": ("the number", "the amount", "the count"),
    "color": ("the color", "the shade", "the hue"),
    "thing": ("the object", "the thing", "the item"),
    "city": ("the city", "the place", "the town"),
    "country": ("the country", "the land", "the nation"),
    "kind": ("the kind", "the group", "the class"),
}

REQUESTS = ("Give {fact}.", "Find {fact}.", "Name {fact}.", "Write {fact}.")
QUESTIONS = ("What is {fact}?", "Which is {fact}?", "Can you tell {fact}?", "Do you see {fact}?")

# Two independent sides of an answer's form: form -> (pattern, ways to ask for it). Signs stand
# apart from words, so that a word is the same piece of the vocabulary in every form.
MARKS = {
    "bare": ("{}", ()),
    "brackets": (
        "( {} )",
        ("Put it in brackets.", "Use brackets.", "Set brackets around it.", "It goes in brackets."),
    ),
    "stars": (
        "* {} *",
        ("Put it between stars.", "Use stars.", "Set stars around it.", "Add a star each side."),
    ),
    "twice": (
        "{} {}",
        ("Say it twice.", "Write it two times.", "Repeat it.", "Give it double."),
    ),
    "sentence": (
        "it is {}",
        ("Use a sentence.", "Make it a sentence.", "Form a full sentence.", "Speak in a sentence."),
    ),
}
FRAMES = {
    "alone": ("{}", ()),
    "here": (
        "here : {}",
        ("Begin with here.", "Say here first.", "Start by saying here.", "Open with here."),
    ),
    "loud": ("{} !", ("Shout.", "Be loud.", "Sound excited.", "Call it out.")),
    "done": (
        "{} done",
        ("Finish with done.", "Close with done.", "Say done last.", "Then add done."),
    ),
}
# Asks for no form at all.
NO_FORM = ("Give only the answer.", "Just the answer.", "Nothing else.", "Keep it plain.")

# Forms that no training task asks for, made of forms and words that training tasks use.
UNSEEN_MARKS = {
    "brackets_twice": (
        "( {} ) ( {} )",
        ("Put it in brackets and say it twice.", "Use brackets and repeat it."),
    ),
    "thrice": ("{} {} {}", ("Say it three times.", "Write it three times.")),
}
UNSEEN_FRAMES = {
    "here_loud": ("here : {} !", ("Begin with here. Shout.", "Be loud. Say here first.")),
    "loud_done": ("{} ! done", ("Shout. Finish with done.", "Say done last. Be loud.")),
}
