"""Rows in the shape of nvidia/Nemotron-Instruction-Following-Chat-v1: chat under constraints, and structured outputs.

Belongs here: conversations, documents with schemas, columns. Does not: topics (`chat_topics`), defects.
"""

from __future__ import annotations

import json
import random
import re
from typing import Any

from nemo_assets.sample.chat_topics import TOPICS, Topic, sentences
from nemo_assets.sample.tree import Entry, Record, SourceFile
from nemo_assets.sample.vocabulary import MONTHS, NAMES, TOWNS, Message, full_name, identifier

DATASET = "nvidia/Nemotron-Instruction-Following-Chat-v1"
LONG_CHAT = 42_000
"""Characters that the one long conversation exceeds."""

REQUESTS = (
    "Tell me about {subject}.",
    "I have two free weekends. What should I know about {subject}?",
    "Write a short text on {subject} for our newsletter.",
    "My aunt took up {subject} and I want to sound informed. Help me.",
    "Explain {subject} to somebody who has never tried it.",
    "Is {subject} worth the effort? Argue in favour.",
    "Give me an honest introduction to {subject}.",
    "Draft the opening of a talk about {subject}.",
    "What would a leaflet on {subject} say?",
)
FOLLOW_UPS = (
    "And what goes wrong most often?",
    "Could you say more about {part}?",
    "Who could I ask for help?",
    "What about {risk}?",
    "How do I start tomorrow?",
    "Can you put that more cautiously?",
    "Is {tool} really needed?",
    "What would {who} say to that?",
)
SYSTEMS = (
    "You are a concise assistant that follows formatting instructions to the letter.",
    "Answer as a patient craftsperson would.",
    "You write for readers of a local newspaper.",
)


def files(seed: int, chats: int = 30, outputs: int = 22) -> list[SourceFile]:
    """The two files, all rows sound."""
    rng = random.Random(f"{seed}/chat")
    conversations = [Entry(chat_row(rng, TOPICS[index % len(TOPICS)], index)) for index in range(chats)]
    conversations.insert(chats // 2, Entry(long_chat_row(rng)))
    documents = [Entry(output_row(rng, DOCUMENTS[index % len(DOCUMENTS)], index)) for index in range(outputs)]
    return [
        SourceFile(DATASET, "chat_if", "data/chat_if.jsonl", conversations),
        SourceFile(DATASET, "structured_outputs", "data/structured_outputs.jsonl", documents),
    ]


def chat_row(rng: random.Random, topic: Topic, index: int) -> Record:
    """One to four exchanges; the first request carries constraints that its answer obeys."""
    thinks = index % 2 == 0
    messages: list[Message] = []
    if index % 5 == 0:
        messages.append({"role": "system", "content": rng.choice(SYSTEMS), "reasoning_content": None})
    instruction, answer, constraint = constrained(rng, topic)
    messages += exchange(
        rng, f"{rng.choice(REQUESTS).format(subject=topic.subject)} {instruction}", answer, thinks, constraint
    )
    for follow_up in rng.sample(FOLLOW_UPS, index % 4):
        reply = " ".join(sentences(rng, topic, rng.randint(2, 4)))
        question = follow_up.format(part=topic.part, risk=topic.risk, tool=topic.tool, who=topic.who)
        messages += exchange(rng, question, reply, thinks, f"stay with {topic.subject} and be brief")
    return as_chat(rng, messages, thinks)


def as_chat(rng: random.Random, messages: list[Message], thinks: bool) -> Record:
    return {
        "uuid": identifier(rng),
        "messages": messages,
        "license": rng.choice(("odc-by-1.0", "cc-by-4.0")),
        "used_in": ["nano_v3"],
        "tools": [],
        "reasoning": "on" if thinks else "off",
        "capability_target": rng.choice(("chat", "chat", "instruction_following")),
    }


def exchange(rng: random.Random, question: str, answer: str, thinks: bool, constraint: str) -> list[Message]:
    thought = rng.choice(
        (
            "The user wants this: {}. I keep that in mind while writing and count at the end.",
            "Constraints first. {} - everything else is free. Then the content.",
            "Let me note the requirement, {}, draft the text and check it once more.",
            "What matters: {}. The tone can be friendly.",
        )
    ).format(constraint)
    return [
        {"role": "user", "content": question, "reasoning_content": None},
        {"role": "assistant", "content": answer, "reasoning_content": thought if thinks else ""},
    ]


def constrained(rng: random.Random, topic: Topic) -> tuple[str, str, str]:
    """An instruction that can be checked, an answer that obeys it, and the constraint in a few words."""
    lines = sentences(rng, topic, rng.randint(6, 9))
    count = len(lines)
    body = " ".join(lines)
    title = topic.subject.title()
    word = rng.choice(("patience", "craft", "routine", "weather", "balance", "daylight"))
    closing = rng.choice(
        ("That is all for today.", "Good luck with it.", "Any questions so far?", "Now it is your turn.")
    )
    half = count // 2
    parts = f"{' '.join(lines[:half])}\n\n***\n\n{' '.join(lines[half:])}"
    return rng.choice(
        (
            (
                f"Use exactly {count} bullet points.",
                "\n".join(f"* {line}" for line in lines),
                f"exactly {count} bullets",
            ),
            ("Do not use any commas.", re.sub(r",", "", body), "no commas anywhere"),
            ("Write in lower case only.", body.lower(), "no capital letters"),
            (
                f'Finish with the exact phrase "{closing}"',
                f"{body}\n\n{closing}",
                f"the last words must be {closing!r}",
            ),
            (
                "Give it a title wrapped in double angular brackets, such as <<title>>.",
                f"<<{title}>>\n\n{body}",
                "a title in << >>",
            ),
            (
                f"Mention the word {word} at least three times.",
                f"{body} If one word sums it up it is {word}: {word} in planning and {word} in doing.",
                f"{word!r} three times",
            ),
            ("Answer in two parts separated by three asterisks.", parts, "two parts and *** between"),
            (
                f"Number the {count} sentences.",
                "\n".join(f"{place}. {line}" for place, line in enumerate(lines, 1)),
                f"{count} numbered sentences",
            ),
            ("Wrap the whole answer in double quotation marks.", f'"{body}"', "quotation marks around everything"),
            (
                f"Return JSON with the keys title and paragraphs ({count} strings).",
                json.dumps({"title": title, "paragraphs": lines}, indent=2),
                "valid JSON, nothing around it",
            ),
        )
    )


def long_chat_row(rng: random.Random) -> Record:
    """A conversation that goes through every topic until it is longer than LONG_CHAT."""
    messages: list[Message] = []
    length = turn = 0
    while length < LONG_CHAT:
        topic = TOPICS[turn % len(TOPICS)]
        turn += 1
        question = f"Chapter {turn} of our handbook, on {topic.subject}, please. Heading first, then running text."
        answer = f"## {turn}. {topic.subject.capitalize()}\n\n{' '.join(sentences(rng, topic, 11))}"
        messages += exchange(rng, question, answer, True, f"chapter {turn} with a heading")
        length += len(question) + len(answer)
    return as_chat(rng, messages, True)


def invoice(rng: random.Random) -> tuple[str, dict[str, Any]]:
    lines: list[dict[str, Any]] = [
        {"item": item, "quantity": rng.randint(1, 12), "unit_price": rng.randint(50, 9000) / 100}
        for item in rng.sample(
            ("brass hinges", "linseed oil", "oak boards", "copper nails", "sailcloth", "beeswax", "rope"), 3
        )
    ]
    total = round(sum(line["quantity"] * line["unit_price"] for line in lines), 2)
    number, customer = f"INV-{rng.randint(1000, 9999)}", full_name(rng)
    listed = "; ".join(f"{line['quantity']} × {line['item']} at {line['unit_price']:.2f}" for line in lines)
    return (
        f"Invoice {number}, issued to {customer} of {rng.choice(TOWNS)}. Positions: {listed}. The total of "
        f"{total:.2f} is due within thirty days of delivery; a late payment adds two per cent.",
        {"number": number, "customer": customer, "lines": lines, "total": total},
    )


def event(rng: random.Random) -> tuple[str, dict[str, Any]]:
    occasion, kind = (
        rng.choice(("Harvest", "Lantern", "Regatta", "Wool", "Cider")),
        rng.choice(("Fair", "Night", "Market")),
    )
    name = f"{occasion} {kind}"
    town, month, day, price = rng.choice(TOWNS), rng.choice(MONTHS), rng.randint(1, 28), rng.choice((0, 4, 7, 12))
    host = full_name(rng)
    fee = f"Tickets are {price} crowns at the gate" if price else "Admission is free"
    return (
        f"On {day} {month} the {name} returns to {town}. {host}, who chairs the committee, expects more visitors than "
        f"last year. {fee}, and dogs are welcome outside the tents.",
        {"name": name, "town": town, "date": {"day": day, "month": month}, "price": price, "host": host},
    )


def job(rng: random.Random) -> tuple[str, dict[str, Any]]:
    role, hours = (
        rng.choice(("archivist", "ferry pilot", "cheese maker", "lens grinder", "school cook")),
        rng.choice((20, 30, 38)),
    )
    skills = rng.sample(
        ("a boating licence", "bookkeeping", "Danish", "first aid", "night shifts", "patience with visitors"), 2
    )
    town, salary = rng.choice(TOWNS), rng.randint(24, 61) * 100
    return (
        f"The town of {town} is hiring: {role}, {hours} hours a week, from {salary} crowns a month. Applicants should "
        f"bring {skills[0]} and {skills[1]}. A room in the old customs house can be rented.",
        {"role": role, "town": town, "weekly_hours": hours, "monthly_salary": salary, "skills": skills},
    )


def log(rng: random.Random) -> tuple[str, dict[str, Any]]:
    device = f"pump-{rng.randint(1, 60):02}"
    values = [rng.randint(180, 420) / 10 for _ in range(4)]
    alarm = max(values) > 40
    return (
        f"Device {device} reported temperatures of {', '.join(f'{value:.1f}' for value in values)} °C between 02:00 "
        f"and 05:00. The limit is 40.0 °C. {'An alarm was raised.' if alarm else 'No alarm was raised.'} The night "
        "shift signed the sheet.",
        {"device": device, "readings": values, "maximum": max(values), "alarm": alarm},
    )


def review(rng: random.Random) -> tuple[str, dict[str, Any]]:
    guest, stars, nights = rng.choice(NAMES), rng.randint(1, 5), rng.randint(1, 9)
    good, bad = (
        rng.choice(("the view", "breakfast", "the quiet", "the staff")),
        rng.choice(("the stairs", "the heating", "the parking", "the wifi")),
    )
    town = rng.choice(TOWNS)
    verdict = "I would come again" if stars > 3 else "once was enough"
    return (
        f"{guest} stayed {nights} night(s) at the inn of {town} and gives {stars} of 5 stars: {good} was a delight, "
        f"{bad} was not, and all things considered {verdict}.",
        {"guest": guest, "town": town, "nights": nights, "stars": stars, "liked": [good], "disliked": [bad]},
    )


DOCUMENTS = (invoice, event, job, log, review)
TASKS = (
    ("Document:\n{document}\n\nFormat your response as a JSON object adhering to this schema:\n{schema}", None),
    ("{document}\n\nExtract the facts of this text.", "Respond with JSON only, valid against:\n{schema}"),
    (
        "Here is the schema:\n{schema}\n\nAnd here the text to be filled in:\n\n{document}\n\nQuestion: what does the "
        "filled object look like?",
        "You turn documents into objects. No prose, no code fence.",
    ),
    (
        "{document}\n\nReturn the data as an object with this JSON schema, keys in the order "
        "given:\n```json\n{schema}\n```",
        None,
    ),
)


def output_row(rng: random.Random, document: Any, index: int) -> Record:
    """A document, a schema, and the object that holds the document's facts. Two columns of chat_if are absent."""
    words, facts = document(rng)
    task, system = TASKS[rng.randrange(len(TASKS))]
    schema = json.dumps(schema_of(facts), indent=rng.choice((None, 2)))
    messages: list[Message] = [{"role": "user", "content": task.format(document=words, schema=schema)}]
    if system:
        messages.insert(0, {"role": "system", "content": system.format(schema=schema)})
    answer: Message = {
        "role": "assistant",
        "content": json.dumps(facts, ensure_ascii=False, indent=rng.choice((None, 2))),
    }
    if index % 4:
        answer["reasoning_content"] = rng.choice(
            ("", f"The keys are {', '.join(facts)}. Fill them from the text, numbers as numbers.")
        )
    return {
        "uuid": identifier(rng),
        "messages": [*messages, answer],
        "license": "cc-by-4.0",
        "used_in": ["nano_v3"],
        "tools": [],
    }


def schema_of(value: Any) -> dict[str, Any]:
    """A JSON schema that `value` fulfils."""
    if isinstance(value, dict):
        return {
            "type": "object",
            "properties": {key: schema_of(inner) for key, inner in value.items()},
            "required": list(value),
        }
    if isinstance(value, list):
        return {"type": "array", "items": schema_of(value[0])}
    names = {bool: "boolean", int: "integer", float: "number", str: "string"}
    return {"type": names[type(value)]}
