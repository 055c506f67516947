"""Tool schemas, policies, and what calling the tools yields.

Belongs here: the desks of the interactive rows and the tasks of the tool-calling rows. Does not: conversations (`agentic`).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nemo_assets.sample.vocabulary import MONTHS, NAMES, SURNAMES, TOWNS, full_name

Schema = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """What a customer wants. Without an action the policy forbids it, and `plan` is the reason."""

    wish: str
    plan: str
    details: Callable[[random.Random], dict[str, Any]]
    action: str | None = None
    arguments: tuple[str, ...] = ()
    result: str = ""


@dataclass(frozen=True)
class Desk:
    """A service desk: its policy, its tools, the tool that looks things up, and its cases."""

    thing: str
    policy: str
    tools: tuple[Schema, ...]
    lookup: str
    cases: tuple[Case, ...]


@dataclass(frozen=True)
class Use:
    """One call of a tool: question, arguments, result and answer agree with each other."""

    question: str
    arguments: dict[str, Any]
    result: Any
    answer: str


@dataclass(frozen=True)
class Task:
    tool: Schema
    goal: str
    use: Callable[[random.Random], Use]


def tool(function: Schema) -> Schema:
    return {"type": "function", "function": function}


def function(name: str, description: str, properties: Schema, required: list[str], *, typed: bool = False) -> Schema:
    """A function schema; the interactive source leaves out `"type": "object"` of the parameters."""
    parameters = {"type": "object"} if typed else {}
    return {"name": name, "description": description, "parameters": {**parameters, "properties": properties, "required": required}}


def text(description: str) -> Schema:
    return {"type": "string", "description": description}


ACCOUNT = {"account_id": text("The account number, such as 'C40211'."), "reference": text("The reference, such as 'K2041'.")}
REFERENCE = {"reference": ACCOUNT["reference"]}
HANDOVER = function("hand_over", "Pass the customer to a human colleague.", {"summary": text("What has been tried so far.")}, ["summary"])

BIKES = Desk(
    "rental",
    "# Bicycle rental desk\n\n- You may look up, extend and move rentals, and report a damaged bicycle.\n- Identify the rental by account "
    "number and reference before doing anything.\n- Before a change, describe it and obtain an explicit yes.\n- An extension is possible for "
    "at most seven days in total, at 9 euros a day.\n- A rental cannot be moved to another station on the day it begins.\n- Damage of brakes "
    "or lights leads to an exchange at once; scratches are only recorded.\n- Never promise refunds; they are decided by the back office.",
    (
        function("get_rental", "Read a rental with its dates, station and model.", ACCOUNT, ["account_id", "reference"]),
        function("extend_rental", "Add days to a running rental.", {**REFERENCE, "days": {"type": "integer", "minimum": 1, "maximum": 7}},
                 ["reference", "days"]),
        function("move_rental", "Move a rental to another station.", {**REFERENCE, "station": text("Name of the station.")},
                 ["reference", "station"]),
        function("report_damage", "Record damage and decide on an exchange.",
                 {**REFERENCE, "part": {"enum": ["brakes", "lights", "frame", "saddle"]}, "photos": {"type": "array"}}, ["reference", "part"]),
        HANDOVER,
    ),
    "get_rental",
    (
        Case("I'd like to keep my bicycle {days} days longer", "I add {days} days to rental {reference}, which costs {cost} euros",
             lambda rng: (lambda days: {"days": days, "cost": 9 * days, "model": rng.choice(("touring", "city", "cargo"))})(rng.randint(2, 6)),
             "extend_rental", ("days",), "Rental {reference} now runs {days} days longer, and {cost} euros were charged."),
        Case("the {part} of my rented bicycle are broken", "I record the damage of the {part} and send an exchange bicycle to you",
             lambda rng: {"part": rng.choice(("brakes", "lights")), "kilometres": rng.randint(12, 140)},
             "report_damage", ("part",), "The damage of the {part} is on file and an exchange bicycle is on its way."),
        Case("I want to pick the bicycle up at {station} instead, today",
             "a rental that begins today can no longer be moved, not even to {station}",
             lambda rng: {"station": f"{rng.choice(TOWNS)} {rng.choice(('harbour', 'station', 'market'))}", "begins": "today"}),
    ),
)
LIBRARY = Desk(
    "loan",
    "# Lending desk of the county library\n\nToday is 3 October 2025.\n\n- Confirm the reader by account number and the loan by its "
    "reference.\n- A loan may be renewed twice, by 14 or 28 days, unless somebody else reserved the title.\n- Reservations cost nothing; the "
    "reader chooses the branch for collection.\n- Fines under 20 crowns may be waived once a year after the reader gave a reason.\n- Do not "
    "recommend titles and do not reveal who reserved one.\n- Ask for a yes before every change.",
    (
        function("get_loan", "Read a loan: title, due date, renewals, fine.", ACCOUNT, ["account_id", "reference"]),
        function("renew_loan", "Renew a loan.", {**REFERENCE, "days": {"enum": [14, 28]}}, ["reference", "days"]),
        function("reserve_title", "Reserve a title that is out.",
                 {**REFERENCE, "branch": {"type": "string", "enum": list(TOWNS[:6])}, "notify": {"type": "object", "properties": {
                     "by": {"enum": ["mail", "letter"]}}}}, ["reference", "branch"]),
        function("waive_fine", "Waive a fine below 20 crowns.", {**REFERENCE, "amount": {"type": "number"}, "reason": text("The reason given.")},
                 ["reference", "amount", "reason"]),
        HANDOVER,
    ),
    "get_loan",
    (
        Case("I need {title} for another {days} days", "the loan of {title} is renewed by {days} days",
             lambda rng: {"title": book(rng), "days": rng.choice((14, 28)), "renewals": rng.randint(0, 1)},
             "renew_loan", ("days",), "{title} is yours for {days} more days."),
        Case("I got a fine of {amount} crowns for {title}, but I had been ill", "I waive the fine of {amount} crowns for {title}, once this year",
             lambda rng: {"title": book(rng), "amount": rng.randint(40, 190) / 10, "reason": "illness"},
             "waive_fine", ("amount", "reason"), "The fine of {amount} crowns is gone."),
        Case("can I renew {title} once more", "{title} has been renewed twice already, which is the limit",
             lambda rng: {"title": book(rng), "renewals": 2, "due": f"{rng.randint(4, 28)} October"}),
    ),
)
CLINIC = Desk(
    "appointment",
    "# Appointment line of an eye clinic\n\n- Patients are identified by account number; appointments by reference.\n- Appointments can be "
    "moved up to 24 hours before they begin and cancelled at any time before.\n- Children under twelve are seen in the morning only.\n- Do "
    "not give medical advice. For pain or sudden loss of sight tell the caller to come at once and hand over.\n- Repeat date and hour and get "
    "a yes before you change anything.\n- One change per call.",
    (
        function("get_appointment", "Read an appointment.", ACCOUNT, ["account_id", "reference"]),
        function("move_appointment", "Move an appointment.",
                 {**REFERENCE, "slot": {"type": "object", "properties": {"day": {"type": "string"}, "hour": {"type": "integer", "minimum": 8,
                  "maximum": 18}}, "required": ["day", "hour"]}}, ["reference", "slot"]),
        function("cancel_appointment", "Cancel an appointment.", {**REFERENCE, "reason": {"enum": ["ill", "travelling", "other"]}},
                 ["reference", "reason"]),
        function("order_glasses_check", "Add a check of glasses to an appointment.", {**REFERENCE, "urgent": {"type": "boolean"}}, ["reference"]),
        HANDOVER,
    ),
    "get_appointment",
    (
        Case("I can't come as planned and would rather see doctor {doctor} some other day",
             "the appointment with doctor {doctor} moves to {slot[day]} at {slot[hour]} o'clock",
             lambda rng: {"doctor": rng.choice(SURNAMES), "slot": {"day": f"{rng.randint(1, 28)} {rng.choice(MONTHS)}", "hour": rng.randint(8, 17)}},
             "move_appointment", ("slot",), "Doctor {doctor} expects you on {slot[day]} at {slot[hour]}."),
        Case("please cancel my visit to doctor {doctor}, I'll be {reason}", "I cancel the visit to doctor {doctor} and note the reason as {reason}",
             lambda rng: {"doctor": rng.choice(SURNAMES), "reason": rng.choice(("ill", "travelling"))},
             "cancel_appointment", ("reason",), "The visit to doctor {doctor} is cancelled."),
        Case("my son {child} is {age} and I want an afternoon slot for him", "children under twelve like {child} are seen in the morning only",
             lambda rng: {"child": rng.choice(NAMES), "age": rng.randint(4, 11)}),
    ),
)
DESKS = (BIKES, LIBRARY, CLINIC)


def book(rng: random.Random) -> str:
    return f"'{rng.choice(('The', 'A', 'Another'))} {rng.choice(('Glass', 'Winter', 'Quiet', 'Copper', 'Last'))} " \
           f"{rng.choice(('Orchard', 'Harbour', 'Witness', 'Season', 'Cartographer'))}'"


def weather(rng: random.Random) -> Use:
    town, low, sky = rng.choice(TOWNS), rng.randint(-6, 16), rng.choice(("fog", "light rain", "clear sky", "sleet", "broken cloud"))
    high = low + rng.randint(3, 11)
    return Use(f"What will the weather be like in {town} tomorrow? Celsius, please.", {"place": town, "day": "tomorrow", "unit": "celsius"},
               {"place": town, "low": low, "high": high, "sky": sky}, f"Tomorrow {town} has {sky} with temperatures from {low} to {high} °C.")


def currency(rng: random.Random) -> Use:
    amount, rate = rng.randint(40, 4000), rng.randint(110, 1190) / 100
    source, target = rng.sample(("EUR", "SEK", "CHF", "PLN", "JPY", "NOK"), 2)
    return Use(f"How much is {amount} {source} in {target} at today's rate?", {"amount": amount, "from": source, "to": target},
               {"rate": rate, "converted": round(amount * rate, 2)}, f"{amount} {source} are {round(amount * rate, 2)} {target} at {rate}.")


def timetable(rng: random.Random) -> Use:
    start, end = rng.sample(TOWNS, 2)
    trains = [{"leaves": f"{hour:02}:{rng.randint(0, 59):02}", "train": f"RE {rng.randint(100, 999)}"} for hour in
              sorted(rng.sample(range(6, 22), 3))]
    return Use(f"Which direct trains run from {start} to {end} on Friday?", {"origin": start, "destination": end, "filters": {"direct": True,
               "day": "Friday"}}, trains, f"There are three direct trains from {start} to {end}: "
               + ", ".join(f"{train['train']} at {train['leaves']}" for train in trains) + ".")


def translation(rng: random.Random) -> Use:
    english, danish, german = rng.choice((("bridge", "bro", "Brücke"), ("lighthouse", "fyr", "Leuchtturm"), ("apple", "æble", "Apfel"),
                                          ("winter", "vinter", "Winter"), ("harbour", "havn", "Hafen"), ("cheese", "ost", "Käse")))
    language, word = rng.choice((("Danish", danish), ("German", german)))
    return Use(f"Please translate the English noun '{english}' into {language}.", {"text": english, "target_language": language}, word,
               f"In {language} the noun '{english}' is '{word}'.")


def stock(rng: random.Random) -> Use:
    item, count = rng.choice(("hex bolts M8", "linen thread", "drawing ink", "oak dowels", "brass hinges")), rng.randint(0, 400)
    shelf = f"{rng.choice('ABCDEF')}{rng.randint(1, 40)}"
    enough = count >= 50
    return Use(f"Do we have at least 50 of {item} on shelf {shelf}?", {"item": item, "at_least": 50, "shelf": shelf}, enough,
               f"{'Yes' if enough else 'No'}, according to the store {item} on {shelf} {'suffice' if enough else 'do not suffice'} for 50.")


def calendar(rng: random.Random) -> Use:
    guest, day, hour = full_name(rng), f"2025-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}", rng.randint(8, 18)
    return Use(f"Put a meeting with {guest} into my calendar on {day} at {hour}:00 for 45 minutes and invite them.",
               {"title": f"Meeting with {guest}", "start": {"date": day, "hour": hour}, "minutes": 45, "attendees": [guest]},
               {"event": rng.randint(1000, 9999), "conflict": False}, f"The meeting with {guest} on {day} at {hour}:00 is in your calendar.")


def geometry(rng: random.Random) -> Use:
    radius, height = rng.randint(2, 30), rng.randint(3, 60)
    volume = round(3.14159265 * radius**2 * height, 1)
    return Use(f"Compute the volume of a cylinder of radius {radius} cm and height {height} cm.", {"shape": "cylinder", "dimensions":
               {"radius": radius, "height": height}}, {"volume": volume, "unit": "cm3"}, f"The cylinder holds about {volume} cubic centimetres.")


def recipes(rng: random.Random) -> Use:
    vegetable, minutes = rng.choice(("leek", "beetroot", "fennel", "kohlrabi", "pumpkin", "chard")), rng.choice((20, 30, 45, 60))
    dishes = rng.sample(("soup", "gratin", "pie", "salad", "risotto", "curry", "fritters"), 3)
    found = [f"{vegetable} {dish}" for dish in dishes]
    return Use(f"Find me vegetarian recipes with {vegetable} that take under {minutes} minutes.", {"ingredients": [vegetable], "max_minutes":
               minutes, "diet": "vegetarian"}, found, f"These take under {minutes} minutes: {', '.join(found)}.")


def parcel(rng: random.Random) -> Use:
    number, town = f"PK{rng.randint(10**8, 10**9 - 1)}", rng.choice(TOWNS)
    state = rng.choice(("in transit", "at the depot", "out for delivery", "held at customs"))
    return Use(f"Where is my parcel {number} right now?", {"tracking_number": number}, {"state": state, "place": town,
               "since_hours": rng.randint(1, 40)}, f"Parcel {number} is {state}, last seen in {town}.")


def sensor(rng: random.Random) -> Use:
    room, limit = rng.choice(("boiler room", "archive", "greenhouse", "server room", "wine cellar")), rng.randint(15, 70)
    readings = [rng.randint(10, 80) for _ in range(4)]
    return Use(f"Give me the last four humidity readings of the {room} and tell me whether any was above {limit} per cent.",
               {"room": room, "quantity": "humidity", "last": 4}, readings, f"The readings of the {room} were {', '.join(map(str, readings))}; "
               f"{sum(reading > limit for reading in readings)} of them above {limit} per cent.")


NUMBER, STRING = {"type": "number"}, {"type": "string"}
TASKS = (
    Task(function("get_forecast", "Weather forecast for a place.", {"place": text("Town."), "day": STRING, "unit": {"type": "string", "enum":
         ["celsius", "fahrenheit"], "default": "celsius"}}, ["place"], typed=True), "a weather forecast", weather),
    Task(function("convert_currency", "Convert money at the rate of the day.", {"amount": NUMBER, "from": text("ISO code."), "to": text("ISO code.")},
         ["amount", "from", "to"], typed=True), "an exchange rate", currency),
    Task(function("find_trains", "Trains between two towns.", {"origin": STRING, "destination": STRING, "filters": {"type": "object", "properties":
         {"direct": {"type": "boolean"}, "day": STRING}}}, ["origin", "destination"], typed=True), "train connections", timetable),
    Task(function("translate", "Translate a short text.", {"text": STRING, "target_language": STRING}, ["text", "target_language"], typed=True),
         "a translation", translation),
    Task(function("has_stock", "Whether a shelf holds enough of an item.", {"item": STRING, "at_least": {"type": "integer"}, "shelf": STRING},
         ["item", "at_least"], typed=True), "stock on a shelf", stock),
    Task(function("add_event", "Add an event to the calendar.", {"title": STRING, "start": {"type": "object", "properties": {"date": STRING, "hour":
         {"type": "integer"}}, "required": ["date", "hour"]}, "minutes": {"type": "integer"}, "attendees": {"type": "array", "items": STRING}},
         ["title", "start"], typed=True), "calendar entries", calendar),
    Task(function("solid_volume", "Volume of a solid.", {"shape": {"type": "string", "enum": ["cylinder", "cone", "sphere"]}, "dimensions":
         {"type": "object", "properties": {"radius": NUMBER, "height": NUMBER}}}, ["shape", "dimensions"], typed=True), "the volume of a solid", geometry),
    Task(function("search_recipes", "Recipes by ingredient.", {"ingredients": {"type": "array", "items": STRING}, "max_minutes": {"type": "integer"},
         "diet": {"enum": ["vegetarian", "vegan", "any"]}}, ["ingredients"], typed=True), "recipes", recipes),
    Task(function("track_parcel", "State of a parcel.", {"tracking_number": STRING}, ["tracking_number"], typed=True), "a parcel", parcel),
    Task(function("read_sensor", "Latest readings of a sensor.", {"room": STRING, "quantity": {"type": "string", "enum": ["humidity", "temperature"]},
         "last": {"type": "integer", "minimum": 1}}, ["room", "quantity"], typed=True), "sensor readings", sensor),
)
