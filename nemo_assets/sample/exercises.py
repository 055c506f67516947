"""Bare exercises from algebra, number theory, counting, geometry and calculus, in the shape of `word_problems`.

Belongs here: problems without a story. Does not: how rows are made of them (`math_v2`).
"""

from __future__ import annotations

import math
import random
from fractions import Fraction

from nemo_assets.sample.vocabulary import factorisation, latex, product_text
from nemo_assets.sample.word_problems import Problem


def power_remainder(rng: random.Random) -> Problem:
    modulus = rng.choice((7, 11, 13, 17, 19, 23))
    base, exponent = rng.randint(2, modulus - 1), rng.randint(60, 2500)
    order = next(step for step in range(1, modulus) if pow(base, step, modulus) == 1)
    value = pow(base, exponent, modulus)
    cycle = ", ".join(str(pow(base, step, modulus)) for step in range(1, order + 1))
    statement = rng.choice(
        (
            f"Determine the remainder of ${base}^{{{exponent}}}$ on division by ${modulus}$.",
            f"What is the smallest non-negative integer $r$ with ${base}^{{{exponent}}} \\equiv r "
            f"\\pmod{{{modulus}}}$?",
        )
    )
    return Problem(
        statement,
        Fraction(value),
        f"the remainder modulo {modulus} is {value}",
        (
            f"Since {modulus} is prime and does not divide {base}, Fermat gives ${base}^{{{modulus - 1}}} \\equiv 1$. "
            f"Reduce the exponent: ${exponent} = {exponent // (modulus - 1)} \\cdot {modulus - 1} + "
            f"{exponent % (modulus - 1)}$. What is left is ${base}^{{{exponent % (modulus - 1)}}} \\equiv {value} "
            f"\\pmod{{{modulus}}}$.",
            f"List the powers of {base} modulo {modulus} until 1 appears: {cycle}. The cycle has length {order}, and "
            f"${exponent} \\bmod {order} = {exponent % order}$, so the entry at that place is wanted (the last one "
            f"for 0): {value}.",
        ),
        f"remainder = pow({base}, {exponent}, {modulus})\nprint(remainder)",
        f"powers = [pow({base}, k, {modulus}) for k in range(1, {order} + 1)]\nprint(powers, powers[{exponent} % "
        f"{order} - 1])",
    )


def vieta(rng: random.Random) -> Problem:
    linear, constant, power = rng.randint(3, 12), rng.choice((-7, -5, -3, -2, 2, 3, 5)), rng.randint(2, 3)
    squares = linear * linear - 2 * constant
    cubes = linear**3 - 3 * linear * constant
    value = squares if power == 2 else cubes
    quadratic = f"x^2 - {linear}x {'+' if constant > 0 else '-'} {abs(constant)}"
    statement = rng.choice(
        (
            f"The polynomial ${quadratic}$ has (possibly complex) roots $u$ and $v$. Evaluate $u^{power} + v^{power}$.",
            f"Let $u, v$ solve ${quadratic} = 0$. Without solving for them, find the sum of their powers $u^{power} + "
            f"v^{power}$.",
        )
    )
    identity = "u^2 + v^2 = (u+v)^2 - 2uv" if power == 2 else "u^3 + v^3 = (u+v)^3 - 3uv(u+v)"
    numbers = f"{linear}^2 - 2({constant})" if power == 2 else f"{linear}^3 - 3({constant})({linear})"
    return Problem(
        statement,
        Fraction(value),
        f"the power sum $u^{power} + v^{power}$ equals {value}",
        (
            f"Vieta: $u + v = {linear}$ and $uv = {constant}$. The symmetric identity ${identity}$ turns the question "
            f"into arithmetic, namely ${numbers} = {value}$.",
            f"Each root satisfies $x^2 = {linear}x - ({constant})$, so the power sums $s_k = u^k + v^k$ obey "
            f"$s_{{k+2}} = {linear}s_{{k+1}} - ({constant})s_k$ with $s_0 = 2$ and $s_1 = {linear}$. Step by step $s_2 "
            f"= {squares}$"
            + (
                f" and $s_3 = {linear} \\cdot {squares} - ({constant}) \\cdot {linear} = {cubes}$."
                if power == 3
                else f", which is already the one asked for; the next would be ${cubes}$."
            ),
        ),
        f"s = [2, {linear}]\nfor k in range(2, {power} + 1):\n    s.append({linear} * s[-1] - ({constant}) * "
        f"s[-2])\nprint(s[{power}])",
        f"import cmath\nroot = cmath.sqrt({linear} ** 2 - 4 * ({constant}))\n"
        f"u, v = ({linear} + root) / 2, ({linear} - root) / 2\nprint(round((u ** {power} + v ** {power}).real, 6))",
    )


def shoelace(rng: random.Random) -> Problem:
    while True:
        points = [(rng.randint(-9, 9), rng.randint(-9, 9)) for _ in range(3)]
        (ax, ay), (bx, by), (cx, cy) = points
        doubled = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        if abs(doubled) > 12:
            break
    area = Fraction(abs(doubled), 2)
    statement = rng.choice(
        (
            f"Find the area of the triangle with vertices $A{points[0]}$, $B{points[1]}$ and $C{points[2]}$.",
            f"In the plane, three towers stand at ${points[0]}$, ${points[1]}$, ${points[2]}$. What area does the "
            "rope stretched around them enclose?",
        )
    )
    left, right = min(ax, bx, cx), max(ax, bx, cx)
    low, high = min(ay, by, cy), max(ay, by, cy)
    sums = (ax * by + bx * cy + cx * ay, ay * bx + by * cx + cy * ax)
    return Problem(
        statement,
        area,
        f"the enclosed area measures ${latex(area)}$ square units",
        (
            f"Take the edge vectors from the first vertex: $({bx - ax}, {by - ay})$ and $({cx - ax}, {cy - ay})$. "
            f"Their cross product is $({bx - ax})({cy - ay}) - ({cx - ax})({by - ay}) = {doubled}$, and half its "
            f"absolute value is ${latex(area)}$.",
            f"Shoelace sums: downwards $({ax})({by}) + ({bx})({cy}) + ({cx})({ay}) = {sums[0]}$ and upwards "
            f"$({ay})({bx}) + ({by})({cx}) + ({cy})({ax}) = {sums[1]}$. Half of their difference in absolute value is "
            f"${latex(area)}$. It fits inside the bounding box of area {(right - left) * (high - low)}, as it must.",
        ),
        f"(ax, ay), (bx, by), (cx, cy) = {points}\narea = abs((bx - ax) * (cy - ay) - (cx - ax) * (by - ay)) / "
        "2\nprint(area)",
        "sides = [((ax - bx) ** 2 + (ay - by) ** 2) ** .5, ((bx - cx) ** 2 + (by - cy) ** 2) ** .5, ((cx - ax) ** 2 + "
        "(cy - ay) ** 2) ** .5]\nhalf = sum(sides) / 2\n"
        "print(round((half * (half - sides[0]) * (half - sides[1]) * (half - sides[2])) ** .5, 9))",
    )


def divisors(rng: random.Random) -> Problem:
    primes = sorted(rng.sample((2, 3, 5, 7, 11), 3))
    number = math.prod(prime ** rng.randint(1, 4 if prime < 4 else 2) for prime in primes)
    factors = factorisation(number)
    count = math.prod(exponent + 1 for _, exponent in factors)
    odd = math.prod(exponent + 1 for prime, exponent in factors if prime != 2)
    ask_even = number % 2 == 0
    value = count - odd if ask_even else count
    kind = "even positive divisors" if ask_even else "positive divisors"
    statement = rng.choice((f"How many {kind} does {number} have?", f"Count the {kind} of the integer $n = {number}$."))
    listed = " \\cdot ".join(f"({exponent}+1)" for _, exponent in factors)
    ending = (
        f" Of these, {odd} avoid the prime 2, and ${count} - {odd} = {value}$ are even."
        if ask_even
        else " Since 2 does not occur, all of them are odd."
    )
    return Problem(
        statement,
        Fraction(value),
        f"the number {number} has {value} {kind}",
        (
            f"The factorisation is ${number} = {product_text(number)}$. A divisor chooses an exponent for each prime, "
            f"so there are ${listed} = {count}$ of them.{ending}",
            (
                f"An even divisor is twice a divisor of ${number // 2} = {product_text(number // 2)}$, and conversely. "
                f"So it is enough to count those: {value}."
                if ask_even
                else f"Divisors of {number} come in pairs $d$ and ${number}/d$. Below $\\sqrt{{{number}}} \\approx "
                f"{math.isqrt(number)}$ one finds {sum(number % d == 0 for d in range(1, math.isqrt(number) + 1))} of "
                f"them, and pairing them up (a square root would count once) gives {value}."
            ),
        ),
        f"n = {number}\nall_divisors = [d for d in range(1, n + 1) if n % d == 0]\n"
        + ("print(sum(d % 2 == 0 for d in all_divisors))" if ask_even else "print(len(all_divisors))"),
        "print(all_divisors[:8], len(all_divisors))",
    )


def lattice(rng: random.Random) -> Problem:
    width, height = rng.randint(4, 8), rng.randint(4, 7)
    column, row = rng.randint(1, width - 1), rng.randint(1, height - 1)
    every = math.comb(width + height, width)
    before, after = math.comb(column + row, row), math.comb(width - column + height - row, width - column)
    value = every - before * after
    statement = rng.choice(
        (
            f"A beetle walks from $(0,0)$ to $({width},{height})$ in unit steps to the right or up and never visits "
            f"$({column},{row})$, where a spider waits. How many paths does it have?",
            f"Count the monotone lattice paths from the origin to $({width}, {height})$ that avoid the point "
            f"$({column}, {row})$.",
        )
    )
    return Problem(
        statement,
        Fraction(value),
        f"exactly {value} paths avoid the forbidden point",
        (
            f"All monotone paths: $\\binom{{{width + height}}}{{{width}}} = {every}$. Those through the forbidden "
            f"point: $\\binom{{{column + row}}}{{{row}}} = {before}$ ways to get there times "
            f"$\\binom{{{width - column + height - row}}}{{{width - column}}} = {after}$ ways to go on, i.e. "
            f"{before * after}. The difference is {value}.",
            "Fill a table: every node gets the sum of its left and lower neighbour, the borders get 1, and the node "
            f"$({column},{row})$ gets 0 instead of {before}. The missing {before} would have spread into the target "
            f"{after} times over, so the corner shows ${every} - {before * after} = {value}$.",
        ),
        f"table = [[1] * {height + 1} for _ in range({width + 1})]\nfor x in range({width + 1}):\n    for y in "
        f"range({height + 1}):\n"
        f"        if (x, y) == ({column}, {row}):\n            table[x][y] = 0\n        elif x and y:\n"
        f"            table[x][y] = table[x - 1][y] + table[x][y - 1]\nprint(table[{width}][{height}])",
        f"from math import comb\nprint(comb({width + height}, {width}), {before} * {after})",
    )


def determinant(rng: random.Random) -> Problem:
    rows = [[rng.randint(-5, 7) for _ in range(3)] for _ in range(3)]
    (a, b, c), (d, e, f), (g, h, i) = rows
    minors = (e * i - f * h, d * i - f * g, d * h - e * g)
    value = a * minors[0] - b * minors[1] + c * minors[2]
    matrix = " \\\\ ".join(" & ".join(map(str, row)) for row in rows)
    plus, minus = (a * e * i, b * f * g, c * d * h), (c * e * g, a * f * h, b * d * i)
    statement = rng.choice(
        (
            f"Compute $\\det \\begin{{pmatrix}} {matrix} \\end{{pmatrix}}$.",
            f"A linear map of space has the matrix $\\begin{{pmatrix}} {matrix} \\end{{pmatrix}}$. By which signed "
            "factor does it scale volumes?",
        )
    )
    return Problem(
        statement,
        Fraction(value),
        f"the determinant has the value {value}",
        (
            f"Expand along the first row. The minors are {minors[0]}, {minors[1]} and {minors[2]}, so the determinant "
            f"is $({a})({minors[0]}) - ({b})({minors[1]}) + ({c})({minors[2]}) = {value}$.",
            f"Sarrus: the falling diagonals contribute ${' + '.join(f'({term})' for term in plus)} = {sum(plus)}$, "
            f"the rising ones ${' + '.join(f'({term})' for term in minus)} = {sum(minus)}$. Falling minus rising "
            f"equals {value}.",
        ),
        f"m = {rows}\ndef det(m):\n    (a, b, c), (d, e, f), (g, h, i) = m\n"
        "    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)\nprint(det(m))",
        "print(det([list(column) for column in zip(*m)]))",
    )


def integral(rng: random.Random) -> Problem:
    cubic, square, linear = rng.randint(1, 6), rng.randint(1, 9), rng.randint(1, 8)
    lower, upper = rng.randint(0, 2), rng.randint(3, 5)

    def primitive(x: int) -> Fraction:
        return Fraction(cubic * x**4, 4) - Fraction(square * x**3, 3) + Fraction(linear * x * x, 2)

    value = primitive(upper) - primitive(lower)
    function = f"{cubic}x^3 - {square}x^2 + {linear}x"
    statement = rng.choice(
        (
            f"Evaluate $\\displaystyle\\int_{{{lower}}}^{{{upper}}} \\left({function}\\right) dx$.",
            f"A particle moves with velocity $v(x) = {function}$ at time $x$. How far has it been displaced between "
            f"times ${lower}$ and ${upper}$?",
        )
    )
    width = upper - lower
    middle = Fraction(lower + upper, 2)

    def height(x: Fraction) -> Fraction:
        return cubic * x**3 - square * x**2 + linear * x

    return Problem(
        statement,
        value,
        f"the integral equals ${latex(value)}$",
        (
            f"A primitive is $F(x) = {latex(Fraction(cubic, 4))}x^4 - {latex(Fraction(square, 3))}x^3 + "
            f"{latex(Fraction(linear, 2))}x^2$. Then $F({upper}) = {latex(primitive(upper))}$, $F({lower}) = "
            f"{latex(primitive(lower))}$, and the difference is ${latex(value)}$.",
            f"Simpson's rule is exact for cubics. The integrand is {latex(height(Fraction(lower)))} at {lower}, "
            f"${latex(height(middle))}$ at ${latex(middle)}$ and {latex(height(Fraction(upper)))} at {upper}. Hence "
            f"the integral is $\\frac{{{width}}}{{6}}$ times (first + 4·middle + last), which is ${latex(value)}$.",
        ),
        f"from fractions import Fraction as F\nprimitive = lambda x: F({cubic}, 4) * x**4 - F({square}, 3) * x**3 + "
        f"F({linear}, 2) * x**2\n"
        f"print(primitive({upper}) - primitive({lower}))",
        f"v = lambda x: {cubic} * x**3 - {square} * x**2 + {linear} * x\nn = 1000\n"
        f"print(round(sum(v({lower} + ({upper} - {lower}) * (k + .5) / n) for k in range(n)) * ({upper} - {lower}) / "
        "n, 3))",
    )


def recurrence(rng: random.Random) -> Problem:
    first, factor, shift, index = rng.randint(1, 6), rng.randint(2, 4), rng.randint(1, 9), rng.randint(5, 8)
    terms = [first]
    for _ in range(index - 1):
        terms.append(factor * terms[-1] + shift)
    fixed = Fraction(-shift, factor - 1)
    statement = rng.choice(
        (
            f"A sequence starts with $a_1 = {first}$ and satisfies $a_{{n+1}} = {factor}a_n + {shift}$. Find "
            f"$a_{{{index}}}$.",
            f"Starting from {first}, a machine multiplies by {factor} and then adds {shift}, over and over. Which "
            f"number is the {index}th in the list, if {first} is the first?",
        )
    )
    return Problem(
        statement,
        Fraction(terms[-1]),
        f"the term with index {index} is {terms[-1]}",
        (
            f"Just iterate: {' → '.join(map(str, terms))}. The last entry, number {index}, is wanted.",
            f"The map has the fixed point $p = {latex(fixed)}$, and $a_n - p$ is multiplied by {factor} in each step. "
            f"So $a_{{{index}}} = p + {factor}^{{{index - 1}}}({first} - p) = {latex(fixed)} + "
            f"{factor ** (index - 1)} \\cdot \\left({latex(first - fixed)}\\right) = {terms[-1]}$.",
        ),
        f"a = {first}\nfor n in range(1, {index}):\n    a = {factor} * a + {shift}\nprint(a)",
        f"print({factor} ** {index - 1} * {first} + {shift} * ({factor} ** {index - 1} - 1) // ({factor} - 1))",
    )


def anagrams(rng: random.Random) -> Problem:
    word = rng.choice(
        (
            "PEPPER",
            "BANANA",
            "CINNAMON",
            "COCONUT",
            "TARRAGON",
            "PAPRIKA",
            "ROSEMARY",
            "LAVENDER",
            "SAFFRON",
            "CORIANDER",
            "MARJORAM",
            "TAMARIND",
        )
    )
    counts = {letter: word.count(letter) for letter in sorted(set(word))}
    total = math.factorial(len(word)) // math.prod(map(math.factorial, counts.values()))
    letter, times = max(counts.items(), key=lambda pair: pair[1])
    repeated = ", ".join(f"{key} ({times}×)" for key, times in counts.items() if times > 1)
    below = "".join(f"{times}!" for times in counts.values() if times > 1)
    statement = rng.choice(
        (
            f"In how many distinguishable ways can the letters of {word} be arranged in a row?",
            f"How many different strings can be made by shuffling the letters of the word {word}?",
        )
    )
    rest = len(word) - times
    others = total // math.comb(len(word), times)
    return Problem(
        statement,
        Fraction(total),
        f"the letters of {word} can be arranged in {total} ways",
        (
            f"There are {len(word)} letters, with repetitions {repeated}. Swapping equal letters changes nothing, so "
            f"divide: $\\frac{{{len(word)}!}}{{{below}}} = {total}$.",
            f"Place the {times} copies of {letter} first: $\\binom{{{len(word)}}}{{{times}}} = "
            f"{math.comb(len(word), times)}$ ways. The other {rest} letters fill the gaps in {others} ways, taking "
            f"their own repetitions into account. The product is {total}.",
        ),
        f"from math import factorial\nfrom collections import Counter\nways = factorial({len(word)})\n"
        f"for times in Counter('{word}').values():\n    ways //= factorial(times)\nprint(ways)",
        f"print(sorted(Counter('{word}').items()))",
    )


def bases(rng: random.Random) -> Problem:
    base, number = rng.choice((5, 6, 7, 9)), rng.randint(900, 9000)
    digits = []
    rest = number
    while rest:
        rest, digit = divmod(rest, base)
        digits.append(digit)
    value = sum(digits)
    numeral = "".join(map(str, reversed(digits)))
    statement = rng.choice(
        (
            f"Write {number} in base {base} and give the sum of its digits there.",
            f"What is the digit sum of the base-{base} representation of the decimal number {number}?",
        )
    )
    powers = " + ".join(f"{digit} \\cdot {base}^{place}" for place, digit in reversed(list(enumerate(digits))))
    chain, rest = [], number
    while rest:
        chain.append(f"${rest} = {rest // base} \\cdot {base} + {rest % base}$")
        rest //= base
    return Problem(
        statement,
        Fraction(value),
        f"in base {base} the number is {numeral} with digit sum {value}",
        (
            f"Divide repeatedly by {base}: {', '.join(chain)}. Reading the remainders backwards, the numeral is "
            f"{numeral}, and the remainders add up to {value}.",
            f"The largest power not above {number} is ${base}^{len(digits) - 1} = {base ** (len(digits) - 1)}$. "
            f"Taking off as many copies of each power as fit, one gets ${number} = {powers}$. The coefficients sum to "
            f"{value}.",
        ),
        f"n, digits = {number}, []\nwhile n:\n    n, digit = divmod(n, {base})\n    "
        "digits.append(digit)\nprint(sum(digits))",
        f"print(digits[::-1], int(''.join(map(str, digits[::-1])), {base}))",
    )


def coins(rng: random.Random) -> Problem:
    small, large = rng.choice(((2, 5), (3, 5), (3, 7), (4, 7), (5, 7), (4, 9), (5, 8)))
    total = rng.randint(80, 190)
    pairs = [(x, (total - small * x) // large) for x in range(total // small + 1) if (total - small * x) % large == 0]
    statement = rng.choice(
        (
            f"In how many ways can {total} be written as ${small}x + {large}y$ with integers $x, y \\ge 0$?",
            f"Stamps are sold in values {small} and {large}. How many combinations of them make exactly {total}, "
            "order ignored?",
        )
    )
    residue = pairs[0][1] % small
    return Problem(
        statement,
        Fraction(len(pairs)),
        f"there are {len(pairs)} such representations of {total}",
        (
            f"Modulo {small} the equation says ${large}y \\equiv {total % small}$, which forces $y \\equiv {residue} "
            f"\\pmod{{{small}}}$. With $0 \\le y \\le {total // large}$ the candidates are "
            f"{', '.join(str(pair[1]) for pair in reversed(pairs))}, in all {len(pairs)}.",
            f"One solution is $(x, y) = {pairs[0]}$. All others arise by adding {large} to $x$ and taking {small} "
            f"from $y$: {', '.join(map(str, pairs))}. After that $y$ would be negative, so the count is {len(pairs)}.",
        ),
        f"solutions = [(x, ({total} - {small} * x) // {large}) for x in range({total} // {small} + 1) if ({total} - "
        f"{small} * x) % {large} == 0]\n"
        "print(len(solutions))",
        "print(solutions[0], solutions[-1])",
    )


def linear_pair(rng: random.Random) -> Problem:
    x, y = rng.randint(-9, 12), rng.randint(-9, 12)
    while True:
        a, b, c, d = (rng.randint(2, 9) for _ in range(4))
        if a * d != b * c:
            break
    first, second = a * x + b * y, c * x + d * y
    value = x * x + y * y
    statement = rng.choice(
        (
            f"The real numbers $x, y$ satisfy ${a}x + {b}y = {first}$ and ${c}x + {d}y = {second}$. Find $x^2 + y^2$.",
            f"Two lines, ${a}x + {b}y = {first}$ and ${c}x + {d}y = {second}$, cross at a point. What is the square "
            "of its distance from the origin?",
        )
    )
    return Problem(
        statement,
        Fraction(value),
        f"with $x = {x}$ and $y = {y}$ the sum of squares is {value}",
        (
            f"Eliminate $x$: {c} times the first minus {a} times the second is $({b * c} - {a * d})y = "
            f"{c * first - a * second}$, so $y = {y}$. Back in the first equation ${a}x = {first} - ({b * y})$, so $x "
            f"= {x}$. Thus $x^2 + y^2 = {value}$.",
            f"Cramer: the determinant is ${a} \\cdot {d} - {b} \\cdot {c} = {a * d - b * c}$. Replacing columns gives "
            f"{first * d - b * second} for $x$ and {a * second - first * c} for $y$, so the point is $({x}, {y})$, "
            f"and $({x})^2 + ({y})^2 = {value}$.",
        ),
        f"det = {a} * {d} - {b} * {c}\nx = ({first} * {d} - {b} * {second}) // det\ny = ({a} * {second} - {c} * "
        f"{first}) // det\n"
        "print(x * x + y * y)",
        f"print(x, y, {a} * x + {b} * y == {first}, {c} * x + {d} * y == {second})",
    )


EXERCISES = (
    power_remainder,
    vieta,
    shoelace,
    divisors,
    lattice,
    determinant,
    integral,
    recurrence,
    anagrams,
    bases,
    coins,
    linear_pair,
)
