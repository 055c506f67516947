"""Names, places, and the small shapes every source shares: identifiers, messages, sentences.

Belongs here: what more than one source module needs. Does not: content of one source.
"""

from __future__ import annotations

import random
import uuid
from fractions import Fraction
from typing import Any

Message = dict[str, Any]

NAMES = (
    "Amara",
    "Benedikt",
    "Chiyo",
    "Dalia",
    "Emeka",
    "Freya",
    "Gaspard",
    "Hiba",
    "Ilse",
    "Jarek",
    "Kavya",
    "Leandro",
    "Marit",
    "Nikos",
    "Oona",
    "Priya",
    "Quentin",
    "Rosalind",
    "Soren",
    "Tamsin",
    "Ulrich",
    "Violeta",
    "Wendel",
    "Xenia",
    "Yusuf",
    "Zofia",
    "Ambrose",
    "Bettina",
    "Cosima",
    "Dragan",
)
SURNAMES = (
    "Okafor",
    "Lindqvist",
    "Tanaka",
    "Moreau",
    "Haddad",
    "Kowalska",
    "Varga",
    "Silveira",
    "Brandt",
    "Achterberg",
    "Nair",
    "Quispe",
    "Ferreira",
    "Holloway",
    "Petrov",
    "Sandoval",
)
TOWNS = (
    "Aldermoor",
    "Brackwater",
    "Castelnuovo",
    "Dunmarrow",
    "Eskholm",
    "Fennwick",
    "Greifental",
    "Hollin Bay",
    "Istrava",
    "Jernvik",
    "Kestrel Point",
    "Lowmere",
    "Marrowgate",
    "Northfold",
    "Orsova",
    "Pellworth",
    "Quarrydale",
    "Ravensund",
)
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October")


def identifier(rng: random.Random) -> str:
    """A version 4 UUID from the generator's own randomness."""
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def call_identifier(rng: random.Random) -> str:
    """A tool call id in the form the real data has."""
    return f"chatcmpl-tool-{rng.getrandbits(128):032x}"


def two_names(rng: random.Random) -> tuple[str, str]:
    first, second = rng.sample(NAMES, 2)
    return first, second


def full_name(rng: random.Random) -> str:
    return f"{rng.choice(NAMES)} {rng.choice(SURNAMES)}"


def latex(value: Fraction | int) -> str:
    """An integer as it is, another fraction as LaTeX in lowest terms."""
    value = Fraction(value)
    if value.denominator == 1:
        return str(value.numerator)
    sign = "-" if value < 0 else ""
    return f"{sign}\\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"


def factorisation(number: int) -> list[tuple[int, int]]:
    """Prime factors with their exponents, ascending. `number` is at least 1."""
    factors = []
    divisor = 2
    while divisor * divisor <= number:
        exponent = 0
        while number % divisor == 0:
            number //= divisor
            exponent += 1
        if exponent:
            factors.append((divisor, exponent))
        divisor += 1
    return [*factors, (number, 1)] if number > 1 else factors


def product_text(number: int) -> str:
    """The factorisation as LaTeX, `2^{3} \\cdot 7`."""
    powers = [f"{prime}^{{{exponent}}}" if exponent > 1 else str(prime) for prime, exponent in factorisation(number)]
    return " \\cdot ".join(powers) or "1"
