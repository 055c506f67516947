"""Word problems with two worked ways and a program each. All arithmetic is done, none is written down by hand.

Belongs here: problems that tell a story.
Does not: bare exercises (`exercises`), or how rows are made of them (`math_v2`).
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from fractions import Fraction

from nemo_assets.sample.vocabulary import MONTHS, TOWNS, latex, product_text, two_names


@dataclass(frozen=True)
class Problem:
    """A problem, its answer, and what a solver may write.

    `ways` are independent solutions. `code` prints the answer; `check` runs after it in the same session.
    """

    statement: str
    value: Fraction
    conclusion: str
    ways: tuple[str, str]
    code: str
    check: str

    @property
    def answer(self) -> str:
        return latex(self.value)


def stationery(rng: random.Random) -> Problem:
    buyer, other = two_names(rng)
    price, count, pens, percent = rng.randint(3, 9), 4 * rng.randint(3, 9), rng.randint(5, 19), rng.choice((25, 50, 75))
    pen = rng.randint(1, 4)
    full = price * count
    paid = Fraction(full * (100 - percent), 100) + pen * pens
    statement = rng.choice(
        (
            f"{buyer} stocks the art room with {count} sketchbooks at \\${price} each and {pens} charcoal pens at "
            f"\\${pen} each. {other} noticed a coupon that takes {percent}% off the sketchbooks only. How many "
            "dollars does the order cost?",
            f"A coupon found by {other} lowers the price of sketchbooks by {percent}%, but not that of pens. Without "
            f"it a sketchbook costs {price} dollars and a pen {pen}. {buyer} needs {count} sketchbooks and {pens} "
            "pens. What is due?",
        )
    )
    return Problem(
        statement,
        Fraction(paid),
        f"{buyer} pays {paid} dollars for sketchbooks and pens together",
        (
            f"Sketchbooks first: ${count} \\times {price} = {full}$. Taking {percent}% off leaves {100 - percent}% of "
            f"that, so ${full} \\cdot {100 - percent}/100 = {latex(Fraction(full * (100 - percent), 100))}$. The pens "
            f"are not discounted: ${pens} \\times {pen} = {pens * pen}$. Adding the two parts gives {paid}.",
            f"Without the coupon everything would come to ${full} + {pens * pen} = {full + pens * pen}$ dollars. The "
            f"coupon saves {percent}% of {full}, which is {latex(Fraction(full * percent, 100))}. Subtracting the "
            f"saving from the undiscounted total: ${full + pens * pen} - {latex(Fraction(full * percent, 100))} = "
            f"{paid}$.",
        ),
        f"books = {count} * {price}\npens = {pens} * {pen}\ntotal = books * {100 - percent} // 100 + "
        "pens\nprint(total)",
        f"saved = books * {percent} // 100\nprint(saved, books + pens - saved == total)",
    )


def ferries(rng: random.Random) -> Problem:
    first, second = rng.sample(TOWNS, 2)
    slow, fast, hours = rng.randint(11, 19), rng.randint(20, 31), rng.randint(3, 9)
    head = rng.randint(1, 3)
    distance = (slow + fast) * hours + slow * head
    statement = rng.choice(
        (
            f"A cargo ferry leaves {first} for {second} at {slow} km/h. {head} hour(s) later a passenger ferry leaves "
            f"{second} for {first} at {fast} km/h on the same route of {distance} km. How many hours after the "
            "departure of the passenger ferry do they meet?",
            f"The sea route between {first} and {second} is {distance} km long. One ferry does {slow} km/h and gets a "
            f"head start of {head} hour(s); the other comes towards it at {fast} km/h. For how many hours has the "
            "later one been travelling when they pass each other?",
        )
    )
    return Problem(
        statement,
        Fraction(hours),
        f"the two ferries pass each other {hours} hours after the second one has left",
        (
            f"In the head start the cargo ferry covers ${slow} \\cdot {head} = {slow * head}$ km, so "
            f"{distance - slow * head} km are left when the other one sets off. From then on the gap closes at "
            f"${slow} + {fast} = {slow + fast}$ km/h, and ${distance - slow * head} / {slow + fast} = {hours}$ hours.",
            f"Let $t$ be the travel time of the later ferry. The earlier one has travelled for $t + {head}$ hours. "
            f"Together they cover the route: ${slow}(t + {head}) + {fast}t = {distance}$. Expanding, ${slow + fast}t "
            f"+ {slow * head} = {distance}$, hence ${slow + fast}t = {distance - slow * head}$ and $t = {hours}$.",
        ),
        f"slow, fast, head, distance = {slow}, {fast}, {head}, {distance}\n"
        "gap = distance - slow * head\nhours = gap / (slow + fast)\nprint(hours)",
        "print(slow * (hours + head), fast * hours, slow * (hours + head) + fast * hours == distance)",
    )


def cistern(rng: random.Random) -> Problem:
    one, two, drain = rng.randint(3, 7), rng.randint(8, 14), rng.randint(15, 30)
    rate = Fraction(1, one) + Fraction(1, two) - Fraction(1, drain)
    place = rng.choice(TOWNS)
    statement = rng.choice(
        (
            f"The cistern of {place} fills in {one} hours through the north pipe and in {two} hours through the south "
            f"pipe, and a full cistern runs dry through the drain in {drain} hours. Somebody left the drain open. How "
            "many hours does it take to fill the empty cistern with both pipes running?",
            f"Two pipes would fill a reservoir near {place} in {one} and {two} hours respectively, while an open "
            f"valve would empty it in {drain} hours. Starting empty, with everything open, after how many hours is it "
            "full?",
        )
    )
    return Problem(
        statement,
        1 / rate,
        f"filling takes ${latex(1 / rate)}$ hours, about {float(1 / rate):.2f}",
        (
            f"Per hour the pipes add $\\frac{{1}}{{{one}}}$ and $\\frac{{1}}{{{two}}}$ of the volume and the drain "
            f"takes $\\frac{{1}}{{{drain}}}$. The net rate is $\\frac{{1}}{{{one}}} + \\frac{{1}}{{{two}}} - "
            f"\\frac{{1}}{{{drain}}} = {latex(rate)}$ of the volume per hour. The time is the reciprocal, "
            f"${latex(1 / rate)}$.",
            f"Suppose the volume is {one * two * drain} litres, a common multiple of all times. Then the pipes bring "
            f"{two * drain} and {one * drain} litres an hour and {one * two} litres leak away, a gain of "
            f"{two * drain + one * drain - one * two} litres an hour. So it takes "
            f"$\\frac{{{one * two * drain}}}{{{two * drain + one * drain - one * two}}} = {latex(1 / rate)}$ hours.",
        ),
        f"from fractions import Fraction\nrate = Fraction(1, {one}) + Fraction(1, {two}) - Fraction(1, {drain})\n"
        "hours = 1 / rate\nprint(hours)",
        "print(float(hours), rate * hours)",
    )


def brine(rng: random.Random) -> Problem:
    weak, strong = rng.randint(4, 12), rng.randint(30, 48)
    part, whole = rng.randint(2, 6), rng.randint(7, 11)
    litres = Fraction((weak * (whole - part) + strong * part), whole)
    maker, helper = two_names(rng)
    volume = whole * rng.randint(2, 5)
    added = volume * part // whole
    statement = rng.choice(
        (
            f"{maker} pours {added} litres of {strong}% brine into a tub that holds {volume - added} litres of "
            f"{weak}% brine. After stirring, what percentage of the tub is salt?",
            f"For pickling, {maker} and {helper} blend {volume - added} litres of a {weak}% salt solution with "
            f"{added} litres of a {strong}% one. Find the strength of the blend in per cent.",
        )
    )
    return Problem(
        statement,
        litres,
        f"the blend has a strength of ${latex(litres)}$ per cent",
        (
            f"Salt from the weak part: ${volume - added} \\cdot {weak}\\% = "
            f"{latex(Fraction((volume - added) * weak, 100))}$ litres. Salt from the strong part: ${added} \\cdot "
            f"{strong}\\% = {latex(Fraction(added * strong, 100))}$. The sum is "
            f"${latex(Fraction((volume - added) * weak + added * strong, 100))}$ in {volume} litres, that is "
            f"${latex(litres)}$ per cent.",
            f"The strength is a weighted mean. The strong brine has weight $\\frac{{{added}}}{{{volume}}} = "
            f"{latex(Fraction(added, volume))}$, so start at {weak} and move that share of the way towards {strong}: "
            f"${weak} + {latex(Fraction(added, volume))} \\cdot {strong - weak} = {latex(litres)}$.",
        ),
        f"from fractions import Fraction\nsalt = {volume - added} * {weak} + {added} * {strong}\n"
        f"strength = Fraction(salt, {volume})\nprint(strength)",
        f"print(float(strength), {weak} < strength < {strong})",
    )


def generations(rng: random.Random) -> Problem:
    older, younger = two_names(rng)
    age, factor, ago = rng.randint(6, 14), rng.randint(3, 5), rng.randint(2, 5)
    now = factor * (age - ago) + ago
    gap = now - age
    statement = rng.choice(
        (
            f"{ago} years ago {older} was {factor} times as old as {younger}. The difference of their ages is {gap}. "
            f"How old is {older} today?",
            f"{older} was born {gap} years before {younger}. Looking back {ago} years, {older}'s age was exactly "
            f"{factor} times that of {younger}. Find the present age of {older}.",
        )
    )
    return Problem(
        statement,
        Fraction(now),
        f"{older} is {now} and {younger} is {age} years old today",
        (
            f"A difference of ages never changes, so {ago} years ago it was {gap} as well. Being {factor} times as "
            f"old means the difference is {factor - 1} times the younger age: ${gap} / {factor - 1} = "
            f"{gap // (factor - 1)}$ for {younger} then. Hence {older} was {factor * gap // (factor - 1)} then and is "
            f"{now} now.",
            f"Write $y$ for the present age of {younger}; {older} is $y + {gap}$. The condition reads $y + {gap} - "
            f"{ago} = {factor}(y - {ago})$, i.e. ${factor - 1}y = {gap} - {ago} + {factor * ago} = "
            f"{gap - ago + factor * ago}$. So $y = {age}$, and adding {gap} gives {now}.",
        ),
        f"for young in range(1, 100):\n    old = young + {gap}\n    if old - {ago} == {factor} * (young - {ago}):\n"
        "        print(young, old)",
        f"print([{now} - {ago}, {age} - {ago}], ({now} - {ago}) / ({age} - {ago}))",
    )


def amphitheatre(rng: random.Random) -> Problem:
    first, step, rows = rng.randint(14, 40), rng.randint(2, 7), rng.randint(12, 35)
    last = first + (rows - 1) * step
    total = rows * (first + last) // 2
    place, closed = rng.choice(TOWNS), rng.randint(2, 5)
    lost = sum(first + step * index for index in range(closed))
    statement = rng.choice(
        (
            f"The amphitheatre of {place} has {rows} rows. The front row has {first} seats and every row has {step} "
            f"more than the one before. The first {closed} rows are closed for repair. How many seats can be sold?",
            f"Seats in an open-air theatre at {place} grow by {step} from row to row, beginning with {first} in row 1 "
            f"and ending with row {rows}. Rows 1 to {closed} are under water. Count the remaining seats.",
        )
    )
    return Problem(
        statement,
        Fraction(total - lost),
        f"{total - lost} seats are left for sale",
        (
            f"Row {rows} has ${first} + {rows - 1} \\cdot {step} = {last}$ seats. All rows together: "
            f"$\\frac{{{rows}}}{{2}}({first} + {last}) = {total}$. The closed ones hold "
            f"{' + '.join(str(first + step * index) for index in range(closed))} = {lost} seats, and ${total} - "
            f"{lost} = {total - lost}$.",
            f"Only rows {closed + 1} to {rows} count, which is {rows - closed} rows. They run from "
            f"{first + closed * step} to {last} in equal steps, so their mean is "
            f"${latex(Fraction(first + closed * step + last, 2))}$, and multiplying by {rows - closed} yields "
            f"{total - lost}.",
        ),
        f"seats = [{first} + {step} * row for row in range({rows})]\nopen_seats = "
        f"sum(seats[{closed}:])\nprint(open_seats)",
        f"print(seats[0], seats[-1], sum(seats) - sum(seats[:{closed}]))",
    )


def lighthouses(rng: random.Random) -> Problem:
    periods = sorted(rng.sample((8, 9, 10, 12, 14, 15, 16, 18, 20, 21, 24, 25, 28, 30), 3))
    together = math.lcm(*periods)
    minutes = rng.randint(20, 90)
    flashes = minutes * 60 // together + 1
    place = rng.choice(TOWNS)
    listed = ", ".join(map(str, periods[:-1])) + f" and {periods[-1]}"
    statement = rng.choice(
        (
            f"Three lighthouses off {place} flash every {listed} seconds. At 21:00 sharp all three flash at once. How "
            f"many times do all three flash at the same moment in the following {minutes} minutes, counting both "
            "21:00 and the end?",
            f"Off {place} three beacons have periods of {listed} seconds and start together. Counting the start, how "
            f"often do they coincide within {minutes} minutes (a coincidence exactly at the end counts too)?",
        )
    )
    return Problem(
        statement,
        Fraction(flashes),
        f"there are {flashes} common flashes, one every {together} seconds",
        (
            f"Common flashes come every $\\operatorname{{lcm}}({', '.join(map(str, periods))})$ seconds. Factor: "
            f"{'; '.join(f'${period} = {product_text(period)}$' for period in periods)}. Taking the highest powers "
            f"gives ${product_text(together)} = {together}$. In {minutes * 60} seconds that fits "
            f"{minutes * 60 // together} whole times, and the start adds one: {flashes}.",
            f"Pair up: the first two meet every {math.lcm(periods[0], periods[1])} seconds because "
            f"$\\gcd({periods[0]}, {periods[1]}) = {math.gcd(periods[0], periods[1])}$. With the third, whose gcd "
            f"with that is {math.gcd(math.lcm(periods[0], periods[1]), periods[2])}, the period becomes {together}. "
            f"The moments are $0, {together}, {2 * together}, \\dots$ up to {minutes * 60}, and $\\lfloor "
            f"{minutes * 60}/{together} \\rfloor + 1 = {flashes}$.",
        ),
        f"from math import lcm\nperiod = lcm({', '.join(map(str, periods))})\nprint({minutes} * 60 // period + 1)",
        f"print(period, [second for second in range({minutes} * 60 + 1) if not any(second % p for p in "
        f"{tuple(periods)})][:6])",
    )


def committee(rng: random.Random) -> Problem:
    women, men, size = rng.randint(5, 9), rng.randint(4, 8), rng.randint(3, 4)
    least = rng.randint(1, 2)
    counts = [math.comb(women, part) * math.comb(men, size - part) for part in range(least, size + 1)]
    value = sum(counts)
    place, name = rng.choice(TOWNS), rng.choice(MONTHS)
    statement = rng.choice(
        (
            f"The rowing club of {place} elects a board of {size} at its meeting in {name}. There are {women} women "
            f"and {men} men to choose from, and at least {least} of the board must be women. How many boards are "
            "possible?",
            f"From {women} women and {men} men of a choir in {place}, a delegation of {size} is drawn in which women "
            f"take {least} place(s) or more. In how many ways can this be done?",
        )
    )
    cases = [f"\\binom{{{women}}}{{{part}}}\\binom{{{men}}}{{{size - part}}}" for part in range(least, size + 1)]
    missing = [f"\\binom{{{women}}}{{{part}}}\\binom{{{men}}}{{{size - part}}}" for part in range(least)]
    return Problem(
        statement,
        Fraction(value),
        f"{value} different selections satisfy the condition",
        (
            f"Split by the number of women: ${' + '.join(cases)}$. In numbers this is "
            f"{' + '.join(map(str, counts))} = {value}.",
            f"Count the complement. Without the condition there are $\\binom{{{women + men}}}{{{size}}} = "
            f"{math.comb(women + men, size)}$ selections. Those with fewer than {least} women number "
            f"${' + '.join(missing)} = {math.comb(women + men, size) - value}$. The difference is {value}.",
        ),
        f"from math import comb\nways = sum(comb({women}, k) * comb({men}, {size} - k) for k in range({least}, {size} "
        "+ 1))\n"
        "print(ways)",
        "from itertools import combinations\n"
        f"people = 'w' * {women} + 'm' * {men}\n"
        f"print(sum(team.count('w') >= {least} for team in combinations(people, {size})))",
    )


def marbles(rng: random.Random) -> Problem:
    red, blue, green = rng.randint(4, 9), rng.randint(3, 8), rng.randint(2, 6)
    total = red + blue + green
    same = sum(count * (count - 1) for count in (red, blue, green))
    value = 1 - Fraction(same, total * (total - 1))
    name, other = two_names(rng)
    statement = rng.choice(
        (
            f"{name} keeps {red} red, {blue} blue and {green} green marbles in a sock and draws two without looking. "
            "What is the probability that their colours differ?",
            f"A jar on the desk of {other} contains {total} beads: {red} crimson, {blue} navy, the rest olive. Two "
            "beads fall out at random. Compute the probability that they are not of one colour.",
        )
    )
    return Problem(
        statement,
        value,
        f"the colours differ with probability ${latex(value)} \\approx {float(value):.4f}$",
        (
            f"Ordered draws: ${total} \\cdot {total - 1} = {total * (total - 1)}$. Equal colours: ${red} \\cdot "
            f"{red - 1} + {blue} \\cdot {blue - 1} + {green} \\cdot {green - 1} = {same}$. So the complement has "
            f"probability ${latex(Fraction(same, total * (total - 1)))}$ and the event itself ${latex(value)}$.",
            f"Unordered pairs of different colours: ${red}\\cdot{blue} + {red}\\cdot{green} + {blue}\\cdot{green} = "
            f"{red * blue + red * green + blue * green}$. All pairs: $\\binom{{{total}}}{{2}} = "
            f"{math.comb(total, 2)}$. The quotient in lowest terms is ${latex(value)}$.",
        ),
        f"from fractions import Fraction\nfrom itertools import combinations\njar = 'r' * {red} + 'b' * {blue} + 'g' * "
        f"{green}\n"
        "pairs = list(combinations(jar, 2))\nchance = Fraction(sum(a != b for a, b in pairs), "
        "len(pairs))\nprint(chance)",
        "print(len(pairs), float(chance))",
    )


def savings(rng: random.Random) -> Problem:
    percent, years = rng.choice((10, 20, 25, 50)), rng.randint(2, 3)
    start = 1000 * rng.randint(2, 16)
    end = Fraction(start) * Fraction(100 + percent, 100) ** years
    name, other = two_names(rng)
    steps = [start * Fraction(100 + percent, 100) ** year for year in range(years + 1)]
    statement = rng.choice(
        (
            f"{name} lends {other}'s bakery {start} crowns at {percent}% a year, compounded yearly, with nothing "
            f"repaid before the end. What interest has accrued after {years} years, in crowns?",
            f"A deposit of {start} crowns grows by {percent}% every year. By how many crowns has it grown after "
            f"{years} years, if {name} never touches it?",
        )
    )
    return Problem(
        statement,
        end - start,
        f"the interest comes to ${latex(end - start)}$ crowns",
        (
            f"Year by year: {' → '.join(f'${latex(step)}$' for step in steps)}. The growth is the last value minus "
            f"the first, ${latex(end)} - {start} = {latex(end - start)}$.",
            f"One year multiplies by ${latex(Fraction(100 + percent, 100))}$, so {years} years multiply by "
            f"${latex(Fraction(100 + percent, 100) ** years)}$. The gain alone is that factor minus one, "
            f"${latex(Fraction(100 + percent, 100) ** years - 1)}$, times {start}, which equals "
            f"${latex(end - start)}$.",
        ),
        f"from fractions import Fraction\namount = Fraction({start})\nfor year in range({years}):\n"
        f"    amount *= Fraction({100 + percent}, 100)\n    print(year + 1, amount)\nprint(amount - {start})",
        f"print(float(amount), amount > {start})",
    )


def paddock(rng: random.Random) -> Problem:
    fence, inner = 12 * rng.randint(6, 20), rng.randint(1, 3)
    owner, place = rng.choice(two_names(rng)), rng.choice(TOWNS)
    short = Fraction(fence, 2 * (inner + 2))
    long = Fraction(fence, 4)
    area = short * long
    statement = rng.choice(
        (
            f"{owner} has {fence} metres of fence for a rectangular paddock outside {place}, divided by {inner} "
            "fence(s) parallel to one side. What is the largest total area in square metres?",
            f"A rectangle with {inner} partition(s) parallel to its shorter sides is to be fenced, partitions "
            f"included, with {fence} m of wire. {owner} wants as much grass as possible. Determine the maximal area.",
        )
    )
    return Problem(
        statement,
        area,
        f"the largest paddock has ${latex(area)}$ square metres",
        (
            f"Let $x$ be the length of the sides parallel to the partitions; there are {inner + 2} of them. The other "
            f"two sides have $y = ({fence} - {inner + 2}x)/2$. The area $x \\cdot y = {fence // 2}x - "
            f"{latex(Fraction(inner + 2, 2))}x^2$ is a parabola with its top at $x = {latex(short)}$, where $y = "
            f"{latex(long)}$. That makes ${latex(area)}$.",
            f"The wire splits as ${inner + 2}x + 2y = {fence}$. By the inequality of the means the product "
            f"$({inner + 2}x)(2y)$ is largest when both summands are {fence // 2}. So $x = {latex(short)}$, $y = "
            f"{latex(long)}$, and the area is ${latex(short)} \\cdot {latex(long)} = {latex(area)}$.",
        ),
        f"from fractions import Fraction\narea = lambda x: x * ({fence} - {inner + 2} * x) / 2\n"
        f"best = Fraction({fence}, {2 * (inner + 2)})\nprint(best, area(best))",
        "print([float(area(best + step)) for step in (-1, 0, 1)])",
    )


def toll(rng: random.Random) -> Problem:
    cheap, dear = rng.sample((4, 5, 7, 9, 11, 13), 2)
    cars, trucks = rng.randint(15, 60), rng.randint(8, 40)
    place, keeper = rng.choice(TOWNS), rng.choice(two_names(rng))
    count, income = cars + trucks, cars * cheap + trucks * dear
    statement = rng.choice(
        (
            f"At the bridge of {place} a car pays {cheap} and a truck {dear} florins. One morning {count} vehicles "
            f"brought in {income} florins. How many of them were trucks?",
            f"{keeper}, who collects the toll in {place} ({cheap} florins a car, {dear} a truck), counted {count} "
            f"tickets and {income} florins in the till. Find the number of trucks.",
        )
    )
    return Problem(
        statement,
        Fraction(trucks),
        f"{trucks} trucks and {cars} cars crossed the bridge",
        (
            f"Pretend all {count} had been cars: that would bring ${count} \\cdot {cheap} = {count * cheap}$. The "
            f"till differs from it by ${income - count * cheap}$, and each truck changes the sum by ${dear - cheap}$. "
            f"So there were ${income - count * cheap} / {dear - cheap} = {trucks}$ trucks.",
            f"With $c$ cars and $t$ trucks, $c + t = {count}$ and ${cheap}c + {dear}t = {income}$. Multiply the first "
            f"equation by {dear} and subtract the second: ${dear - cheap}c = {dear * count - income}$, so $c = "
            f"{cars}$ and $t = {count} - {cars} = {trucks}$.",
        ),
        f"print([({count} - t, t) for t in range({count} + 1) if {cheap} * ({count} - t) + {dear} * t == {income}])",
        f"print({cars} * {cheap}, {trucks} * {dear}, {cars} * {cheap} + {trucks} * {dear})",
    )


STORIES = (
    stationery,
    ferries,
    cistern,
    brine,
    generations,
    amphitheatre,
    lighthouses,
    committee,
    marbles,
    savings,
    paddock,
    toll,
)
