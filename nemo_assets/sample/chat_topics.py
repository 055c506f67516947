"""What the chat rows talk about: topics with their own words, and sentences with room for them.

Belongs here: topics and sentence forms. Does not: conversations (`chat`).
"""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Topic:
    """A subject and the words its sentences need."""

    subject: str
    who: str
    part: str
    other: str
    tool: str
    risk: str
    gain: str
    season: str
    first: str
    mistake: str


TOPICS = (
    Topic(
        "keeping bees on a roof",
        "the beekeeper",
        "the brood box",
        "the honey super",
        "a smoker",
        "swarming",
        "a calm colony",
        "late April",
        "placing the hive out of the wind",
        "opening the lid too often",
    ),
    Topic(
        "restoring an old rowing boat",
        "the boatbuilder",
        "the keel",
        "the planking",
        "a caulking iron",
        "hidden rot",
        "a dry hull",
        "the winter months",
        "drying the timber slowly",
        "painting over damp wood",
    ),
    Topic(
        "baking rye bread",
        "the baker",
        "the sourdough",
        "the crust",
        "a stone oven",
        "a gummy crumb",
        "bread that keeps for a week",
        "cool evenings",
        "feeding the starter twice",
        "slicing the loaf while it is warm",
    ),
    Topic(
        "reading old parish registers",
        "the genealogist",
        "the baptism list",
        "the marginal notes",
        "a loupe",
        "false kinship",
        "a tree without gaps",
        "a rainy Sunday",
        "learning the handwriting of the clerk",
        "trusting a name without a date",
    ),
    Topic(
        "building a dry stone wall",
        "the waller",
        "the foundation",
        "the coping",
        "a string line",
        "bulging",
        "a wall that outlives its builder",
        "dry autumn days",
        "sorting the stones by size",
        "filling the heart with gravel",
    ),
    Topic(
        "growing mushrooms in a cellar",
        "the grower",
        "the substrate",
        "the spawn",
        "a hygrometer",
        "green mould",
        "three flushes a year",
        "any month of the year",
        "pasteurising the straw",
        "letting the air stand still",
    ),
    Topic(
        "navigating by the stars",
        "the navigator",
        "the horizon",
        "the almanac",
        "a sextant",
        "a wrong hour",
        "a fix within two miles",
        "clear nights",
        "checking the index error",
        "measuring from a rolling deck without waiting",
    ),
    Topic(
        "repairing a mechanical watch",
        "the watchmaker",
        "the balance",
        "the mainspring",
        "a pair of brass tweezers",
        "a bent pivot",
        "a rate within ten seconds a day",
        "quiet mornings",
        "letting the power down",
        "oiling what should stay dry",
    ),
    Topic(
        "translating folk songs",
        "the translator",
        "the refrain",
        "the rhyme",
        "a dialect dictionary",
        "lost irony",
        "a text that can be sung",
        "long train rides",
        "humming the tune before writing",
        "keeping every word and losing the metre",
    ),
    Topic(
        "running a village choir",
        "the conductor",
        "the altos",
        "the warm-up",
        "a tuning fork",
        "flat endings",
        "a sound that carries",
        "the weeks before Advent",
        "choosing pieces below the limit of the sopranos",
        "rehearsing only what already works",
    ),
    Topic(
        "mapping a cave",
        "the surveyor",
        "the entrance pit",
        "the side passage",
        "a laser rangefinder",
        "sudden flooding",
        "a plan that closes",
        "the dry season",
        "agreeing on signals",
        "sketching from memory at home",
    ),
    Topic(
        "dyeing wool with plants",
        "the dyer",
        "the mordant",
        "the vat",
        "a copper kettle",
        "patchy colour",
        "shades that stand the light",
        "midsummer",
        "washing the fleece without felting it",
        "crowding the pot",
    ),
    Topic(
        "teaching chess to children",
        "the teacher",
        "the endgame",
        "the opening",
        "a demonstration board",
        "boredom",
        "players who think ahead",
        "the first school term",
        "starting with king and pawn",
        "naming variations before ideas",
    ),
    Topic(
        "tuning a harpsichord",
        "the tuner",
        "the bass strings",
        "the plectra",
        "a well-set temperament",
        "a snapped string",
        "thirds that glow",
        "days of stable weather",
        "setting the middle octave",
        "chasing every beat at once",
    ),
)

SENTENCES = (
    "Anyone interested in {subject} should begin with {first}, because everything after it depends on that.",
    "Most beginners underestimate {part}; {who} does not.",
    "The best time is {season}, when nothing else competes for attention.",
    "A word about {risk}: it announces itself early if one knows where to look.",
    "Without {tool} the work is possible, though it takes twice as long.",
    "What separates {part} from {other} is less a matter of skill than of patience.",
    "The usual mistake is {mistake}.",
    "In return there is {gain}, and that is worth a few failed attempts.",
    "Ask {who} for advice and the answer will almost certainly mention {other}.",
    "It pays to write down what was done and when, since memory is kinder than it should be.",
    "Costs stay low: apart from {tool} little has to be bought.",
    "Some people swear by {season}, others start whenever they can, and both have a point.",
    "If {risk} occurs anyway, stop, look at {part}, and change one thing only.",
    "Books describe {subject} as an art; in practice it is mostly a habit.",
    "After a year or so {other} becomes second nature.",
    "There is an old saying that {part} forgives once and {other} never.",
    "A small trial tells more than a long discussion, so try it on a modest scale.",
    "I would not recommend {mistake}, however tempting it looks at the end of a long day.",
    "Good light, a clean table and {tool} are half the battle.",
    "The aim is not perfection but {gain}.",
    "Neighbours tend to be curious, and explaining {subject} to them sharpens one's own understanding.",
    "Twice a season {who} takes stock of {part} and decides what must be renewed.",
    "One reason for {risk} is haste; another, oddly enough, is too much care.",
    "Measure first, note the figure, and only then touch {other}.",
    "With {first} out of the way, the rest can be spread over several weekends.",
    "Clubs exist in many towns and lend {tool} to members.",
    "Children can help with {other}, as long as somebody keeps an eye on {part}.",
    "The difference between a good and a poor result is often visible in {other}.",
    "For larger plans a calendar helps: {season} for the heavy work, the rest of the year for care.",
    "Nobody regrets {first}; many regret {mistake}.",
)


def sentences(rng: random.Random, topic: Topic, count: int) -> list[str]:
    """`count` different sentences on the topic."""
    words = asdict(topic)
    return [form.format(**words) for form in rng.sample(SENTENCES, count)]
