"""Rows in the shape of nvidia/Nemotron-Agentic-v1: customers with a service agent, and questions answered by tools.

Belongs here: conversations and columns. Does not: policies and tools (`service_desks`, `tool_tasks`), defects.
"""

from __future__ import annotations

import json
import random
from typing import Any

from nemo_assets.sample.service_desks import DESKS, Desk
from nemo_assets.sample.tool_schemas import tool
from nemo_assets.sample.tool_tasks import TASKS, Task
from nemo_assets.sample.tree import Entry, Record, SourceFile
from nemo_assets.sample.vocabulary import NAMES, TOWNS, Message, call_identifier, identifier

DATASET = "nvidia/Nemotron-Agentic-v1"
SYSTEM = (
    "You are a customer service agent that helps the user.  The policy that determines how you should respond to "
    "requests from users is described below between the <policy> and </policy> tags.\n\n<policy>\n{policy}\n</policy>"
)
GREETINGS = (
    "Hello, {wish}.",
    "Hi there! {wish}, please.",
    "Good morning. {wish} if that is possible.",
    "Hey, quick one: {wish}.",
    "I hope you can help me. {wish}.",
    "Hi, it's me again. {wish} this time.",
)
ASK_ACCOUNT = (
    "I can look into that. May I have your account number and the {thing} reference?",
    "Happy to help. To find your {thing} I need the account number and its reference.",
    "Of course. Which account is it, and what is the reference of the {thing}?",
    "Let me check the details first: please send me your account number and the reference of the {thing}.",
)
GIVE_ACCOUNT = (
    "Sure, account {account}, reference {reference}.",
    "It's {account} and {reference}.",
    "{account}; the {thing} is {reference}, I think.",
    "My number is {account}. The confirmation mail says {reference}.",
)
CONFIRM = (
    "Here is what I would do: {plan}. Shall I go ahead (yes/no)?",
    "To be sure we agree: {plan}. Please confirm with yes.",
    "According to our policy this is allowed. {plan}. Do you want that?",
    "I found it. {plan}. Is that right?",
)
AGREE = ("Yes, please do.", "Yes.", "That's right, go ahead.", "Yes, and thanks for being so quick.", "Exactly, yes!")
DONE = (
    "All done. {result} Is there anything else?",
    "{result} You will get a message about it within the hour.",
    "That worked: {result} Have a good day!",
    "Your {thing} has been updated. {result}",
)
REFUSE = (
    "I am sorry, but {reason}. I can hand you over to a colleague if you wish.",
    "Unfortunately that is not possible: {reason}. Would another option help?",
    "I checked, and {reason}. So I have to decline this request.",
)
ACCEPT_REFUSAL = (
    "Pity, but I understand. Leave it as it is.",
    "No, thank you, then I keep it.",
    "All right, I'll think about it.",
)
FAREWELLS = (
    "You're welcome. Nothing was changed.",
    "Understood, everything stays as booked.",
    "Thank you for your patience, goodbye.",
)
THOUGHTS = (
    "Okay, let's see. The user wants {goal}. {name} is the function for that, and all required arguments are in the "
    "question.",
    "The request is about {goal}. Among the tools, {name} fits. No argument is missing.",
    "I should call {name} here. From the text I take the arguments directly; the optional ones keep their defaults.",
    "For {goal} there is {name}. Nothing has to be asked back.",
)

UNSERVED = (
    (
        "None of the functions I was given covers {goal}, so I cannot look this up for you. Could you tell me which "
        "source you would like me to rely on, or paste the figures here? With those I can do the rest by hand.",
        "Okay, the question concerns {goal}. Checking the list of functions: nothing suitable. Better to say it.",
    ),
    (
        "I would need access to {goal} to answer this reliably, and I have none at the moment. What I can offer is a "
        "way to find it yourself: start from an official source, note the date, and compare two of them.",
        "No tool here gives {goal}. Guessing would be worse than declining, so explain the way instead.",
    ),
    (
        "That needs live data, namely {goal}, which is out of reach for my present tools. I prefer to say so rather "
        "than guess.",
        "The tools do something else entirely. The user should know that {goal} is beyond them.",
    ),
    (
        "I'm afraid I have to pass on this one. My tools were set up for other work, and {goal} is not among it; the "
        "person who configured this assistant could add it.",
        "Hmm, which function could it be? I went through all of them and {goal} is simply missing.",
    ),
    (
        "Thanks for asking! Sadly this lies outside of what I can check. If {goal} matters to you today, a phone call "
        "will be the quickest route, and afterwards I can help you to make sense of the answer.",
        "I could call something just to call something, but the result would not be about {goal}. So a friendly no.",
    ),
    (
        "Not with the functions I have. They cannot reach {goal}. Shall I rather draft a message with your question "
        "that you can send to the people who know?",
        "Irrelevant tools, clear question. The honest move is to decline {goal} and to offer a draft.",
    ),
    (
        "There is no connection to {goal} in this session. Once it exists, the very same question will do; until then "
        "every number from me would be invented.",
        "Answering from memory is risky for {goal}, and no call fits. Decline in two sentences.",
    ),
)


def files(seed: int, conversations: int = 15, tasks: int = 36) -> list[SourceFile]:
    """The two files, all rows sound."""
    rng = random.Random(f"{seed}/agentic")
    desks = [Entry(desk_row(rng, DESKS[index * len(DESKS) // conversations], index)) for index in range(conversations)]
    calls = [Entry(task_row(rng, index)) for index in range(tasks)]
    return [
        SourceFile(DATASET, "interactive_agent", "data/interactive_agent.jsonl", desks, compact=True),
        SourceFile(DATASET, "tool_calling", "data/tool_calling.jsonl", calls, compact=True),
    ]


def desk_row(rng: random.Random, desk: Desk, index: int) -> Record:
    """One customer at one desk. Consecutive rows share a desk, as the source's do."""
    messages = [{"role": "system", "content": SYSTEM.format(policy=desk.policy)}, *conversation(rng, desk, index)]
    if index == 3:
        del messages[2]["reasoning_content"]  # a few assistants in the source have none
    return {
        "uuid": identifier(rng),
        "messages": messages,
        "license": "cc-by-4.0",
        "used_in": ["nano_v3"],
        "tools": [{"type": "function", "function": {**function, "strict": True}} for function in desk.tools],
        "reasoning": "on",
    }


def conversation(rng: random.Random, desk: Desk, index: int) -> list[Message]:
    """Ask, identify, look up, then act after a yes or refuse by the policy."""
    case = desk.cases[index % len(desk.cases)]
    account, reference = (
        f"{rng.choice('ABCDEFGH')}{rng.randint(10_000, 99_999)}",
        f"{rng.choice('KLMNPR')}{rng.randint(1000, 9999)}",
    )
    detail = case.details(rng)
    facts = {"account": account, "reference": reference, "thing": desk.thing, **detail}
    shown = {
        "reference": reference,
        "account": account,
        "holder": rng.choice(NAMES),
        "town": rng.choice(TOWNS),
        **detail,
    }
    turns = [
        say("user", rng.choice(GREETINGS).format(wish=case.wish.format(**facts))),
        say("assistant", rng.choice(ASK_ACCOUNT).format(**facts)),
        say("user", rng.choice(GIVE_ACCOUNT).format(**facts)),
        *call(rng, desk.lookup, {"account_id": account, "reference": reference}, shown),
    ]
    if case.action is None:
        return [
            *turns,
            say("assistant", rng.choice(REFUSE).format(reason=case.plan.format(**facts))),
            say("user", rng.choice(ACCEPT_REFUSAL)),
            say("assistant", rng.choice(FAREWELLS)),
        ]
    arguments = {"reference": reference, **{key: detail[key] for key in case.arguments}}
    return [
        *turns,
        say("assistant", rng.choice(CONFIRM).format(plan=case.plan.format(**facts))),
        say("user", rng.choice(AGREE)),
        *call(
            rng, case.action, arguments, {"status": "ok", "reference": reference, "number": rng.randint(10_000, 99_999)}
        ),
        say("assistant", rng.choice(DONE).format(result=case.result.format(**facts), thing=desk.thing)),
    ]


def say(role: str, text: str) -> Message:
    """A message with the leading blank lines that the source has."""
    message: Message = {"role": role, "content": f"\n\n{text}"}
    return {**message, "reasoning_content": ""} if role == "assistant" else message


def call(rng: random.Random, name: str, arguments: dict[str, Any], result: dict[str, Any]) -> list[Message]:
    """A call with its arguments as a JSON string, and its result."""
    number = call_identifier(rng)
    function = {"name": name, "arguments": json.dumps(arguments)}
    return [
        {
            "role": "assistant",
            "tool_calls": [{"type": "function", "id": number, "function": function}],
            "content": "",
            "reasoning_content": "",
        },
        {"role": "tool", "tool_call_id": number, "content": f"\n\n{json.dumps(result)}"},
    ]


def task_row(rng: random.Random, index: int) -> Record:
    """One question: a single call, parallel calls, steps one after another, or no call at all."""
    task = TASKS[index % len(TASKS)]
    others = [other.tool for other in rng.sample([other for other in TASKS if other is not task], rng.randint(0, 3))]
    tools = [tool(task.tool), *(tool(other) for other in others)]
    kind = ("single", "parallel", "single", "steps", "none")[index % 5]
    messages = [{"role": "system", "content": ""}]
    if kind == "none":
        messages += answer_without_call(rng, task, index // 5)
        tools = [] if index % 2 else tools[1:]
    elif kind == "steps":
        messages += ask(rng, task, 1, index) + ask(rng, TASKS[(index + 3) % len(TASKS)], 1, index)
        tools.append(tool(TASKS[(index + 3) % len(TASKS)].tool))
    else:
        messages += ask(rng, task, 1 if kind == "single" else 2 + index % 2, index)
    return {
        "uuid": identifier(rng),
        "messages": messages,
        "license": "cc-by-4.0",
        "used_in": "nano_v3" if index == 8 else ["nano_v3"],
        "tools": list({entry["function"]["name"]: entry for entry in tools}.values()),
    }


def ask(rng: random.Random, task: Task, count: int, index: int) -> list[Message]:
    """A question that needs `count` calls of one tool, the calls with object arguments, the results, the answer."""
    uses = [task.use(rng) for _ in range(count)]
    name = task.tool["name"]
    calls: list[dict[str, Any]] = [
        {"type": "function", "id": call_identifier(rng), "function": {"name": name, "arguments": use.arguments}}
        for use in uses
    ]
    if index % 6 == 1:
        calls = [{"index": place, **entry} for place, entry in enumerate(calls)]
    question = " And also: ".join(use.question for use in uses)
    thought = rng.choice(THOUGHTS).format(goal=task.goal, name=name)
    final: Message = {"role": "assistant", "content": "\n\n".join(use.answer for use in uses)}
    if index % 3:
        final["tool_calls"] = None
    return [
        {"role": "user", "content": question},
        {"role": "assistant", "content": "", "tool_calls": calls, "reasoning_content": thought},
        *({"role": "tool", "content": use.result} for use in uses),
        {
            **final,
            "reasoning_content": rng.choice(
                ("", "The result is complete, so I can answer.", "Summarise it for the user.")
            ),
        },
    ]


def answer_without_call(rng: random.Random, task: Task, turn: int) -> list[Message]:
    """A question none of the offered tools can serve. `turn` picks the wording, so that no two rows share it."""
    wording, thought = UNSERVED[turn % len(UNSERVED)]
    return [
        {"role": "user", "content": task.use(rng).question},
        {
            "role": "assistant",
            "content": wording.format(goal=task.goal),
            "tool_calls": None,
            "reasoning_content": thought.format(goal=task.goal),
        },
    ]
