"""Service desks: their policies, their tools, and what customers want of them.

Belongs here: what the interactive rows talk about. Does not: conversations (`agentic`).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nemo_assets.sample.tool_schemas import Schema, function, text
from nemo_assets.sample.vocabulary import MONTHS, NAMES, SURNAMES, TOWNS


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


def book(rng: random.Random) -> str:
    return (
        f"'{rng.choice(('The', 'A', 'Another'))} {rng.choice(('Glass', 'Winter', 'Quiet', 'Copper', 'Last'))} "
        f"{rng.choice(('Orchard', 'Harbour', 'Witness', 'Season', 'Cartographer'))}'"
    )


def extension(rng: random.Random) -> dict[str, Any]:
    days = rng.randint(2, 6)
    return {"days": days, "cost": 9 * days, "model": rng.choice(("touring", "city", "cargo"))}


ACCOUNT = {
    "account_id": text("The account number, such as 'C40211'."),
    "reference": text("The reference, such as 'K2041'."),
}
REFERENCE = {"reference": ACCOUNT["reference"]}
HANDOVER = function(
    "hand_over",
    "Pass the customer to a human colleague.",
    {"summary": text("What has been tried so far.")},
    ["summary"],
)

BIKES = Desk(
    "rental",
    "# Bicycle rental desk\n\n- You may look up, extend and move rentals, and report a damaged bicycle.\n- Identify "
    "the rental by account number and reference before doing anything.\n- Before a change, describe it and obtain an "
    "explicit yes.\n- An extension is possible for at most seven days in total, at 9 euros a day.\n- A rental cannot "
    "be moved to another station on the day it begins.\n- Damage of brakes or lights leads to an exchange at once; "
    "scratches are only recorded.\n- Never promise refunds; they are decided by the back office.",
    (
        function(
            "get_rental", "Read a rental with its dates, station and model.", ACCOUNT, ["account_id", "reference"]
        ),
        function(
            "extend_rental",
            "Add days to a running rental.",
            {**REFERENCE, "days": {"type": "integer", "minimum": 1, "maximum": 7}},
            ["reference", "days"],
        ),
        function(
            "move_rental",
            "Move a rental to another station.",
            {**REFERENCE, "station": text("Name of the station.")},
            ["reference", "station"],
        ),
        function(
            "report_damage",
            "Record damage and decide on an exchange.",
            {**REFERENCE, "part": {"enum": ["brakes", "lights", "frame", "saddle"]}, "photos": {"type": "array"}},
            ["reference", "part"],
        ),
        HANDOVER,
    ),
    "get_rental",
    (
        Case(
            "I'd like to keep my bicycle {days} days longer",
            "I add {days} days to rental {reference}, which costs {cost} euros",
            extension,
            "extend_rental",
            ("days",),
            "Rental {reference} now runs {days} days longer, and {cost} euros were charged.",
        ),
        Case(
            "the {part} of my rented bicycle are broken",
            "I record the damage of the {part} and send an exchange bicycle to you",
            lambda rng: {"part": rng.choice(("brakes", "lights")), "kilometres": rng.randint(12, 140)},
            "report_damage",
            ("part",),
            "The damage of the {part} is on file and an exchange bicycle is on its way.",
        ),
        Case(
            "I want to pick the bicycle up at {station} instead, today",
            "a rental that begins today can no longer be moved, not even to {station}",
            lambda rng: {
                "station": f"{rng.choice(TOWNS)} {rng.choice(('harbour', 'station', 'market'))}",
                "begins": "today",
            },
        ),
    ),
)
LIBRARY = Desk(
    "loan",
    "# Lending desk of the county library\n\nToday is 3 October 2025.\n\n- Confirm the reader by account number and "
    "the loan by its reference.\n- A loan may be renewed twice, by 14 or 28 days, unless somebody else reserved the "
    "title.\n- Reservations cost nothing; the reader chooses the branch for collection.\n- Fines under 20 crowns may "
    "be waived once a year after the reader gave a reason.\n- Do not recommend titles and do not reveal who reserved "
    "one.\n- Ask for a yes before every change.",
    (
        function("get_loan", "Read a loan: title, due date, renewals, fine.", ACCOUNT, ["account_id", "reference"]),
        function("renew_loan", "Renew a loan.", {**REFERENCE, "days": {"enum": [14, 28]}}, ["reference", "days"]),
        function(
            "reserve_title",
            "Reserve a title that is out.",
            {
                **REFERENCE,
                "branch": {"type": "string", "enum": list(TOWNS[:6])},
                "notify": {"type": "object", "properties": {"by": {"enum": ["mail", "letter"]}}},
            },
            ["reference", "branch"],
        ),
        function(
            "waive_fine",
            "Waive a fine below 20 crowns.",
            {**REFERENCE, "amount": {"type": "number"}, "reason": text("The reason given.")},
            ["reference", "amount", "reason"],
        ),
        HANDOVER,
    ),
    "get_loan",
    (
        Case(
            "I need {title} for another {days} days",
            "the loan of {title} is renewed by {days} days",
            lambda rng: {"title": book(rng), "days": rng.choice((14, 28)), "renewals": rng.randint(0, 1)},
            "renew_loan",
            ("days",),
            "{title} is yours for {days} more days.",
        ),
        Case(
            "I got a fine of {amount} crowns for {title}, but I had been ill",
            "I waive the fine of {amount} crowns for {title}, once this year",
            lambda rng: {"title": book(rng), "amount": rng.randint(40, 190) / 10, "reason": "illness"},
            "waive_fine",
            ("amount", "reason"),
            "The fine of {amount} crowns is gone.",
        ),
        Case(
            "can I renew {title} once more",
            "{title} has been renewed twice already, which is the limit",
            lambda rng: {"title": book(rng), "renewals": 2, "due": f"{rng.randint(4, 28)} October"},
        ),
    ),
)
CLINIC = Desk(
    "appointment",
    "# Appointment line of an eye clinic\n\n- Patients are identified by account number; appointments by "
    "reference.\n- Appointments can be moved up to 24 hours before they begin and cancelled at any time before.\n- "
    "Children under twelve are seen in the morning only.\n- Do not give medical advice. For pain or sudden loss of "
    "sight tell the caller to come at once and hand over.\n- Repeat date and hour and get a yes before you change "
    "anything.\n- One change per call.",
    (
        function("get_appointment", "Read an appointment.", ACCOUNT, ["account_id", "reference"]),
        function(
            "move_appointment",
            "Move an appointment.",
            {
                **REFERENCE,
                "slot": {
                    "type": "object",
                    "properties": {"day": {"type": "string"}, "hour": {"type": "integer", "minimum": 8, "maximum": 18}},
                    "required": ["day", "hour"],
                },
            },
            ["reference", "slot"],
        ),
        function(
            "cancel_appointment",
            "Cancel an appointment.",
            {**REFERENCE, "reason": {"enum": ["ill", "travelling", "other"]}},
            ["reference", "reason"],
        ),
        function(
            "order_glasses_check",
            "Add a check of glasses to an appointment.",
            {**REFERENCE, "urgent": {"type": "boolean"}},
            ["reference"],
        ),
        HANDOVER,
    ),
    "get_appointment",
    (
        Case(
            "I can't come as planned and would rather see doctor {doctor} some other day",
            "the appointment with doctor {doctor} moves to {slot[day]} at {slot[hour]} o'clock",
            lambda rng: {
                "doctor": rng.choice(SURNAMES),
                "slot": {"day": f"{rng.randint(1, 28)} {rng.choice(MONTHS)}", "hour": rng.randint(8, 17)},
            },
            "move_appointment",
            ("slot",),
            "Doctor {doctor} expects you on {slot[day]} at {slot[hour]}.",
        ),
        Case(
            "please cancel my visit to doctor {doctor}, I'll be {reason}",
            "I cancel the visit to doctor {doctor} and note the reason as {reason}",
            lambda rng: {"doctor": rng.choice(SURNAMES), "reason": rng.choice(("ill", "travelling"))},
            "cancel_appointment",
            ("reason",),
            "The visit to doctor {doctor} is cancelled.",
        ),
        Case(
            "my son {child} is {age} and I want an afternoon slot for him",
            "children under twelve like {child} are seen in the morning only",
            lambda rng: {"child": rng.choice(NAMES), "age": rng.randint(4, 11)},
        ),
    ),
)
DESKS = (BIKES, LIBRARY, CLINIC)
