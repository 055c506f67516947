"""Questions that one call of a tool answers, with the tool's schema.

Belongs here: what the tool-calling rows ask. Does not: conversations (`agentic`).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nemo_assets.sample.tool_schemas import Schema, function, text
from nemo_assets.sample.vocabulary import TOWNS, full_name


@dataclass(frozen=True)
class Use:
    """One call of a tool: question, arguments, result and answer agree with each other."""

    question: str
    arguments: dict[str, Any]
    result: Any
    answer: str


@dataclass(frozen=True)
class Task:
    """A tool, what it is good for in a few words, and how it is used."""

    tool: Schema
    goal: str
    use: Callable[[random.Random], Use]


def weather(rng: random.Random) -> Use:
    town, low, sky = (
        rng.choice(TOWNS),
        rng.randint(-6, 16),
        rng.choice(("fog", "light rain", "clear sky", "sleet", "broken cloud")),
    )
    high = low + rng.randint(3, 11)
    return Use(
        f"What will the weather be like in {town} tomorrow? Celsius, please.",
        {"place": town, "day": "tomorrow", "unit": "celsius"},
        {"place": town, "low": low, "high": high, "sky": sky},
        f"Tomorrow {town} has {sky} with temperatures from {low} to {high} °C.",
    )


def currency(rng: random.Random) -> Use:
    amount, rate = rng.randint(40, 4000), rng.randint(110, 1190) / 100
    source, target = rng.sample(("EUR", "SEK", "CHF", "PLN", "JPY", "NOK"), 2)
    return Use(
        f"How much is {amount} {source} in {target} at today's rate?",
        {"amount": amount, "from": source, "to": target},
        {"rate": rate, "converted": round(amount * rate, 2)},
        f"{amount} {source} are {round(amount * rate, 2)} {target} at {rate}.",
    )


def timetable(rng: random.Random) -> Use:
    start, end = rng.sample(TOWNS, 2)
    trains = [
        {"leaves": f"{hour:02}:{rng.randint(0, 59):02}", "train": f"RE {rng.randint(100, 999)}"}
        for hour in sorted(rng.sample(range(6, 22), 3))
    ]
    return Use(
        f"Which direct trains run from {start} to {end} on Friday?",
        {"origin": start, "destination": end, "filters": {"direct": True, "day": "Friday"}},
        trains,
        f"There are three direct trains from {start} to {end}: "
        + ", ".join(f"{train['train']} at {train['leaves']}" for train in trains)
        + ".",
    )


def translation(rng: random.Random) -> Use:
    english, danish, german = rng.choice(
        (
            ("bridge", "bro", "Brücke"),
            ("lighthouse", "fyr", "Leuchtturm"),
            ("apple", "æble", "Apfel"),
            ("winter", "vinter", "Winter"),
            ("harbour", "havn", "Hafen"),
            ("cheese", "ost", "Käse"),
        )
    )
    language, word = rng.choice((("Danish", danish), ("German", german)))
    return Use(
        f"Please translate the English noun '{english}' into {language}.",
        {"text": english, "target_language": language},
        word,
        f"In {language} the noun '{english}' is '{word}'.",
    )


def stock(rng: random.Random) -> Use:
    item, count = (
        rng.choice(("hex bolts M8", "linen thread", "drawing ink", "oak dowels", "brass hinges")),
        rng.randint(0, 400),
    )
    shelf = f"{rng.choice('ABCDEF')}{rng.randint(1, 40)}"
    enough = count >= 50
    return Use(
        f"Do we have at least 50 of {item} on shelf {shelf}?",
        {"item": item, "at_least": 50, "shelf": shelf},
        enough,
        f"{'Yes' if enough else 'No'}, according to the store {item} on {shelf} "
        f"{'suffice' if enough else 'do not suffice'} for 50.",
    )


def calendar(rng: random.Random) -> Use:
    guest, day, hour = full_name(rng), f"2025-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}", rng.randint(8, 18)
    return Use(
        f"Put a meeting with {guest} into my calendar on {day} at {hour}:00 for 45 minutes and invite them.",
        {"title": f"Meeting with {guest}", "start": {"date": day, "hour": hour}, "minutes": 45, "attendees": [guest]},
        {"event": rng.randint(1000, 9999), "conflict": False},
        f"The meeting with {guest} on {day} at {hour}:00 is in your calendar.",
    )


def geometry(rng: random.Random) -> Use:
    radius, height = rng.randint(2, 30), rng.randint(3, 60)
    volume = round(3.14159265 * radius**2 * height, 1)
    return Use(
        f"Compute the volume of a cylinder of radius {radius} cm and height {height} cm.",
        {"shape": "cylinder", "dimensions": {"radius": radius, "height": height}},
        {"volume": volume, "unit": "cm3"},
        f"The cylinder holds about {volume} cubic centimetres.",
    )


def recipes(rng: random.Random) -> Use:
    vegetable, minutes = (
        rng.choice(("leek", "beetroot", "fennel", "kohlrabi", "pumpkin", "chard")),
        rng.choice((20, 30, 45, 60)),
    )
    dishes = rng.sample(("soup", "gratin", "pie", "salad", "risotto", "curry", "fritters"), 3)
    found = [f"{vegetable} {dish}" for dish in dishes]
    return Use(
        f"Find me vegetarian recipes with {vegetable} that take under {minutes} minutes.",
        {"ingredients": [vegetable], "max_minutes": minutes, "diet": "vegetarian"},
        found,
        f"These take under {minutes} minutes: {', '.join(found)}.",
    )


def parcel(rng: random.Random) -> Use:
    number, town = f"PK{rng.randint(10**8, 10**9 - 1)}", rng.choice(TOWNS)
    state = rng.choice(("in transit", "at the depot", "out for delivery", "held at customs"))
    return Use(
        f"Where is my parcel {number} right now?",
        {"tracking_number": number},
        {"state": state, "place": town, "since_hours": rng.randint(1, 40)},
        f"Parcel {number} is {state}, last seen in {town}.",
    )


def sensor(rng: random.Random) -> Use:
    room, limit = (
        rng.choice(("boiler room", "archive", "greenhouse", "server room", "wine cellar")),
        rng.randint(15, 70),
    )
    readings = [rng.randint(10, 80) for _ in range(4)]
    return Use(
        f"Give me the last four humidity readings of the {room} and tell me whether any was above {limit} per cent.",
        {"room": room, "quantity": "humidity", "last": 4},
        readings,
        f"The readings of the {room} were {', '.join(map(str, readings))}; "
        f"{sum(reading > limit for reading in readings)} of them above {limit} per cent.",
    )


NUMBER, STRING = {"type": "number"}, {"type": "string"}
TASKS = (
    Task(
        function(
            "get_forecast",
            "Weather forecast for a place.",
            {
                "place": text("Town."),
                "day": STRING,
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
            },
            ["place"],
            typed=True,
        ),
        "a weather forecast",
        weather,
    ),
    Task(
        function(
            "convert_currency",
            "Convert money at the rate of the day.",
            {"amount": NUMBER, "from": text("ISO code."), "to": text("ISO code.")},
            ["amount", "from", "to"],
            typed=True,
        ),
        "an exchange rate",
        currency,
    ),
    Task(
        function(
            "find_trains",
            "Trains between two towns.",
            {
                "origin": STRING,
                "destination": STRING,
                "filters": {"type": "object", "properties": {"direct": {"type": "boolean"}, "day": STRING}},
            },
            ["origin", "destination"],
            typed=True,
        ),
        "train connections",
        timetable,
    ),
    Task(
        function(
            "translate",
            "Translate a short text.",
            {"text": STRING, "target_language": STRING},
            ["text", "target_language"],
            typed=True,
        ),
        "a translation",
        translation,
    ),
    Task(
        function(
            "has_stock",
            "Whether a shelf holds enough of an item.",
            {"item": STRING, "at_least": {"type": "integer"}, "shelf": STRING},
            ["item", "at_least"],
            typed=True,
        ),
        "stock on a shelf",
        stock,
    ),
    Task(
        function(
            "add_event",
            "Add an event to the calendar.",
            {
                "title": STRING,
                "start": {
                    "type": "object",
                    "properties": {"date": STRING, "hour": {"type": "integer"}},
                    "required": ["date", "hour"],
                },
                "minutes": {"type": "integer"},
                "attendees": {"type": "array", "items": STRING},
            },
            ["title", "start"],
            typed=True,
        ),
        "calendar entries",
        calendar,
    ),
    Task(
        function(
            "solid_volume",
            "Volume of a solid.",
            {
                "shape": {"type": "string", "enum": ["cylinder", "cone", "sphere"]},
                "dimensions": {"type": "object", "properties": {"radius": NUMBER, "height": NUMBER}},
            },
            ["shape", "dimensions"],
            typed=True,
        ),
        "the volume of a solid",
        geometry,
    ),
    Task(
        function(
            "search_recipes",
            "Recipes by ingredient.",
            {
                "ingredients": {"type": "array", "items": STRING},
                "max_minutes": {"type": "integer"},
                "diet": {"enum": ["vegetarian", "vegan", "any"]},
            },
            ["ingredients"],
            typed=True,
        ),
        "recipes",
        recipes,
    ),
    Task(
        function("track_parcel", "State of a parcel.", {"tracking_number": STRING}, ["tracking_number"], typed=True),
        "a parcel",
        parcel,
    ),
    Task(
        function(
            "read_sensor",
            "Latest readings of a sensor.",
            {
                "room": STRING,
                "quantity": {"type": "string", "enum": ["humidity", "temperature"]},
                "last": {"type": "integer", "minimum": 1},
            },
            ["room", "quantity"],
            typed=True,
        ),
        "sensor readings",
        sensor,
    ),
)
