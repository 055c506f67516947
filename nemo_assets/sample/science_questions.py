"""What the science rows ask about: facts with distractors, and calculations with their numbers.

Belongs here: questions. Does not: prompts and records (`science`).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Fact:
    """A question with one right option and at least three wrong ones."""

    field: str
    question: str
    right: str
    wrong: tuple[str, ...]
    because: str


@dataclass(frozen=True)
class Calculation:
    """A question with a number for an answer. `hint` is the thought before, `steps` the worked solution."""

    field: str
    question: str
    value: float
    unit: str
    hint: str
    steps: str


FACTS = (
    Fact(
        "cell biology",
        "A toxin stops protons from crossing the inner mitochondrial membrane through ATP synthase. What is the most "
        "immediate consequence in a respiring cell?",
        "The proton gradient steepens and electron transport slows down",
        (
            "Glycolysis stops at hexokinase",
            "Oxygen consumption rises sharply",
            "The gradient collapses at once",
            "Pyruvate can no longer leave the cytosol",
        ),
        "Electron carriers pump protons against the gradient; when nothing lets them back, pumping becomes uphill "
        "work and the carriers stay reduced.",
    ),
    Fact(
        "genetics",
        "Two plants heterozygous for two unlinked genes are crossed. What fraction of the offspring shows both "
        "recessive traits?",
        "1/16",
        ("1/4", "3/16", "9/16", "1/8"),
        "Each gene independently gives the recessive phenotype with probability one quarter, and independence lets us "
        "multiply.",
    ),
    Fact(
        "astronomy",
        "Why does the Moon keep the same face towards the Earth?",
        "Tides have locked its rotation to its orbit",
        (
            "It does not rotate at all",
            "Its far side is heavier and points outwards by chance",
            "The Sun brakes its rotation daily",
            "Its magnetic field is aligned with ours",
        ),
        "Tidal torque dissipates energy until one rotation takes exactly as long as one revolution, and then the "
        "torque vanishes.",
    ),
    Fact(
        "chemistry",
        "Which change shifts the equilibrium N2 + 3 H2 <-> 2 NH3 (exothermic) towards ammonia?",
        "Raising the pressure",
        ("Raising the temperature", "Adding a catalyst", "Removing hydrogen", "Adding argon at constant volume"),
        "Four moles of gas become two, so compression favours the side with fewer particles, while heating favours "
        "the reverse.",
    ),
    Fact(
        "optics",
        "A swimming pool looks shallower than it is. Which phenomenon is responsible?",
        "Refraction at the surface",
        ("Dispersion in the water", "Total internal reflection", "Diffraction at ripples", "Scattering by dust"),
        "Rays bend away from the normal on leaving the denser medium, so their backward extensions meet above the "
        "true bottom.",
    ),
    Fact(
        "geology",
        "A rock has large interlocking crystals of quartz, feldspar and mica. How did it form?",
        "By slow cooling of magma at depth",
        (
            "By rapid cooling of lava in the sea",
            "By cementing of sand grains",
            "By evaporation of a salt lake",
            "By impact of a meteorite",
        ),
        "Crystals grow large only if the melt loses heat slowly, which happens under kilometres of insulating rock.",
    ),
    Fact(
        "ecology",
        "An island loses its only bird that eats a certain beetle. Which outcome is expected first?",
        "The beetle population grows until food or disease limits it",
        (
            "The beetle becomes extinct",
            "The plants eaten by the beetle spread",
            "A new bird species evolves within a year",
            "Nothing, since food webs are closed",
        ),
        "Releasing a prey from its main predator raises survival; the brake then comes from resources lower in the "
        "web.",
    ),
    Fact(
        "thermodynamics",
        "A gas expands into an evacuated, insulated vessel. What happens to its temperature if it is ideal?",
        "It stays the same",
        (
            "It falls because work is done",
            "It rises because entropy grows",
            "It drops to absolute zero",
            "It oscillates",
        ),
        "No heat enters and nothing is pushed, so internal energy is unchanged, and for an ideal gas that depends on "
        "temperature alone.",
    ),
    Fact(
        "physiology",
        "Which vessel carries blood that is richest in oxygen?",
        "The pulmonary vein",
        ("The pulmonary artery", "The hepatic portal vein", "The superior vena cava", "The renal vein"),
        "Blood picks up oxygen in the capillaries of the lung and returns from there to the left atrium.",
    ),
    Fact(
        "organic chemistry",
        "Which of these compounds can rotate the plane of polarised light?",
        "2-butanol",
        ("1-butanol", "2-propanol", "tert-butanol", "Diethyl ether"),
        "Its second carbon bears four different groups, hydrogen, hydroxyl, methyl and ethyl, and so exists in two "
        "mirror forms.",
    ),
    Fact(
        "electromagnetism",
        "A bar magnet falls through a vertical copper tube. Why does it take longer than a wooden rod?",
        "Induced currents in the tube oppose its motion",
        (
            "Copper is attracted by magnets",
            "Air is trapped beneath it",
            "The magnet becomes heavier",
            "Friction with copper is larger",
        ),
        "The moving field changes the flux through every ring of the tube, and the currents it drives act against the "
        "cause.",
    ),
    Fact(
        "microbiology",
        "Why is penicillin harmless to human cells?",
        "They have no cell wall of peptidoglycan",
        (
            "They have no ribosomes",
            "They divide too slowly",
            "They break it down in the nucleus",
            "They have circular chromosomes",
        ),
        "The drug blocks the enzymes that link peptidoglycan strands, a target that exists in bacteria only.",
    ),
    Fact(
        "meteorology",
        "Which observation shows that air is rising in the centre of a cyclone?",
        "Cloud and rain in the region of low pressure",
        (
            "Clear skies and frost",
            "Constant wind in all directions",
            "Rising pressure during the storm",
            "Dust settling on the ground",
        ),
        "Rising air cools by expansion until vapour condenses, so sustained cloud marks ascent.",
    ),
    Fact(
        "atomic physics",
        "Compared with a neutral sodium atom, the ion Na+ is",
        "smaller, since its outer shell is empty",
        (
            "larger, since charges repel",
            "equal in size",
            "larger, since it lost an electron's mass",
            "unstable in water",
        ),
        "Losing the single electron of the third shell leaves a neon-like core that the unchanged nucleus pulls in "
        "more tightly.",
    ),
    Fact(
        "botany",
        "Guard cells around a stoma take up potassium ions. What follows?",
        "Water enters and the pore opens",
        ("The pore closes", "Starch is exported to the root", "The leaf falls", "Photosynthesis stops"),
        "The ions lower the water potential inside, water follows by osmosis, and the swollen cells bow apart.",
    ),
    Fact(
        "acoustics",
        "An organ pipe closed at one end is warmed. What happens to its pitch?",
        "It rises, because sound travels faster in warm air",
        ("It falls, because the pipe gets longer", "It is unchanged", "It rises by an octave exactly", "It vanishes"),
        "The wavelength is fixed by the length of the pipe, while the speed of sound grows with temperature; "
        "expansion of the pipe is far smaller.",
    ),
    Fact(
        "evolution",
        "Dark moths became common near soot-covered towns and rare again after the air was cleaned. What does this "
        "show?",
        "Selection changes direction when the environment does",
        (
            "Individuals change colour to match bark",
            "Mutation stops in clean air",
            "Dark moths moved to other towns and forgot to return",
            "Soot is inherited",
        ),
        "Birds removed whichever form stood out; the variation was there before and only its frequency moved.",
    ),
    Fact(
        "nuclear physics",
        "A nucleus emits an alpha particle and then two beta-minus particles. The product is",
        "an isotope of the same element",
        ("the element two places lower", "the element one place higher", "an isobar of the original", "hydrogen"),
        "Alpha decay lowers the atomic number by two and each beta-minus raises it by one, so the number returns "
        "while the mass drops by four.",
    ),
    Fact(
        "analytical chemistry",
        "Which indicator property is needed to titrate a weak acid with a strong base?",
        "A colour change at slightly basic pH",
        ("A colour change at pH 3", "Solubility in hexane", "A fluorescence at pH 7 exactly", "A high molar mass"),
        "At equivalence the solution holds the conjugate base, which makes water slightly alkaline.",
    ),
    Fact(
        "mechanics",
        "A skater pulls in the arms and spins faster. Which quantity stays constant?",
        "Angular momentum about the vertical axis",
        ("Kinetic energy", "Moment of inertia", "Angular velocity", "Linear momentum of each hand"),
        "Forces along the arms exert no torque about the axis; the work done by the muscles shows up as extra kinetic "
        "energy.",
    ),
)


def half_life(rng: random.Random) -> Calculation:
    life, start = rng.randint(3, 40), rng.randint(20, 900)
    time = life * rng.choice((2, 3, 4, 5)) + rng.randint(1, life - 1)
    value = start * 0.5 ** (time / life)
    return Calculation(
        "nuclear physics",
        f"A source holds {start} mg of an isotope with a half-life of {life} days. How many milligrams are left after "
        f"{time} days?",
        value,
        "mg",
        f"The number of half-lives is {time}/{life}, about {time / life:.3f}; not an integer, so use the exponential.",
        f"$m = {start} \\cdot 2^{{-{time}/{life}}}$, and $2^{{-{time / life:.3f}}} \\approx "
        f"{0.5 ** (time / life):.4f}$, which leaves about {value:.3g} mg.",
    )


def dilution(rng: random.Random) -> Calculation:
    stock, target, volume = (
        rng.choice((2.0, 3.0, 6.0, 12.0)),
        rng.choice((0.05, 0.1, 0.15, 0.25)),
        rng.randint(2, 20) * 50,
    )
    value = target * volume / stock
    return Calculation(
        "solution chemistry",
        f"How many millilitres of {stock} M hydrochloric acid are needed to prepare {volume} mL of a {target} M "
        "solution?",
        value,
        "mL",
        "The amount of solute is the same before and after adding water.",
        f"From $c_1V_1 = c_2V_2$ we get $V_1 = {target} \\cdot {volume} / {stock} = {value:.3g}$ mL; water makes up "
        "the rest of the flask.",
    )


def free_fall(rng: random.Random) -> Calculation:
    height, speed = rng.randint(12, 90), rng.randint(4, 30)
    time = math.sqrt(2 * height / 9.81)
    return Calculation(
        "kinematics",
        f"A stone is thrown horizontally at {speed} m/s from a cliff {height} m high. How far from the foot of the "
        "cliff does it hit the water? Ignore air resistance and take g = 9.81 m/s².",
        speed * time,
        "m",
        "Horizontal and vertical motion are independent, so the fall time decides.",
        f"The fall takes $t = \\sqrt{{2 \\cdot {height} / 9.81}} = {time:.3f}$ s, during which the stone travels "
        f"${speed} \\cdot {time:.3f} = {speed * time:.3g}$ m horizontally.",
    )


def strong_acid(rng: random.Random) -> Calculation:
    mantissa, exponent, volume = rng.choice((1.5, 2.5, 3.2, 4.0, 7.1)), rng.randint(2, 4), rng.choice((100, 250, 500))
    concentration = mantissa * 10**-exponent
    value = -math.log10(concentration / 2)
    return Calculation(
        "acid-base chemistry",
        f"{volume} mL of nitric acid of concentration {mantissa}e-{exponent} mol/L is mixed with the same volume of "
        "pure water. What is the pH?",
        value,
        "",
        "A strong acid is fully dissociated, and mixing with an equal volume halves the concentration.",
        f"The concentration becomes {concentration / 2:.3g} mol/L, and $\\mathrm{{pH}} = "
        f"-\\log_{{10}}({concentration / 2:.3g}) = {value:.3g}$.",
    )


def calorimetry(rng: random.Random) -> Calculation:
    hot, cold = rng.randint(60, 95), rng.randint(8, 22)
    hot_mass, cold_mass = rng.randint(2, 9) * 25, rng.randint(4, 16) * 25
    value = (hot * hot_mass + cold * cold_mass) / (hot_mass + cold_mass)
    return Calculation(
        "heat",
        f"{hot_mass} g of water at {hot} °C is poured into {cold_mass} g of water at {cold} °C in a perfect thermos. "
        "Find the final temperature.",
        value,
        "°C",
        "Heat lost equals heat gained, and the specific heat cancels because both are water.",
        f"$T = ({hot_mass} \\cdot {hot} + {cold_mass} \\cdot {cold}) / {hot_mass + cold_mass} = {value:.3g}$ °C, "
        "between the two starting temperatures as it must be.",
    )


def lens(rng: random.Random) -> Calculation:
    focal = rng.randint(6, 25)
    distance = focal + rng.randint(4, 60)
    value = 1 / (1 / focal - 1 / distance)
    return Calculation(
        "optics",
        f"A thin converging lens of focal length {focal} cm forms an image of a candle {distance} cm away. At what "
        "distance behind the lens is the image?",
        value,
        "cm",
        "The object lies outside the focal length, so the image is real.",
        f"$1/b = 1/{focal} - 1/{distance}$, hence $b = {focal} \\cdot {distance} / {distance - focal} = {value:.3g}$ "
        f"cm, with magnification {value / distance:.2f}.",
    )


def parallel_resistors(rng: random.Random) -> Calculation:
    first, second, series, voltage = (
        rng.randint(20, 90),
        rng.randint(100, 330),
        rng.randint(5, 50),
        rng.choice((5, 9, 12, 24)),
    )
    pair = first * second / (first + second)
    value = 1000 * voltage / (pair + series)
    return Calculation(
        "circuits",
        f"Resistors of {first} Ω and {second} Ω are connected in parallel, and {series} Ω is in series with them "
        f"across {voltage} V. Which current, in milliamperes, does the source deliver?",
        value,
        "mA",
        "Reduce the parallel pair to one resistor and add the other.",
        f"The pair counts as {first}·{second}/{first + second} = {pair:.4g} Ω, the whole circuit as "
        f"{pair + series:.4g} Ω, and Ohm's law gives {voltage}/{pair + series:.4g} A = {value:.3g} mA.",
    )


def photon(rng: random.Random) -> Calculation:
    wavelength = rng.randint(210, 700)
    value = 1239.84 / wavelength
    return Calculation(
        "quantum physics",
        f"What is the energy, in electronvolts, of a photon with a wavelength of {wavelength} nm?",
        value,
        "eV",
        "The product hc is 1239.84 eV·nm, which saves converting units.",
        f"$E = hc/\\lambda = 1239.84 / {wavelength} = {value:.3g}$ eV, "
        f"{'ultraviolet' if wavelength < 380 else 'visible light'}.",
    )


def ideal_gas(rng: random.Random) -> Calculation:
    volume, celsius, pressure = rng.randint(2, 50), rng.randint(5, 90), rng.randint(80, 400)
    value = pressure * volume / (8.314 * (celsius + 273.15))
    return Calculation(
        "gas laws",
        f"A steel bottle of {volume} L contains helium at {celsius} °C and {pressure} kPa. How many moles is that?",
        value,
        "mol",
        "Temperature must be absolute; kilopascals times litres are joules.",
        f"$n = pV/(RT) = {pressure} \\cdot {volume} / (8.314 \\cdot {celsius + 273.15:.2f}) = {value:.3g}$ mol.",
    )


def spring(rng: random.Random) -> Calculation:
    mass, stiffness = rng.randint(2, 30) / 10, rng.randint(15, 220)
    value = 2 * math.pi * math.sqrt(mass / stiffness)
    return Calculation(
        "oscillations",
        f"A block of {mass} kg hangs on a spring of stiffness {stiffness} N/m and is set swinging up and down. "
        "Determine the period in seconds.",
        value,
        "s",
        "Gravity only shifts the rest position, the period does not contain g.",
        f"$T = 2\\pi\\sqrt{{m/k}} = 2\\pi\\sqrt{{{mass}/{stiffness}}} = {value:.3g}$ s, or {1 / value:.2f} swings a "
        "second.",
    )


def yield_of_reaction(rng: random.Random) -> Calculation:
    mass, percent = rng.randint(20, 160), rng.randint(55, 95)
    theoretical = mass / 100.09 * 44.01
    return Calculation(
        "stoichiometry",
        f"Heating {mass} g of calcium carbonate drives off carbon dioxide with a yield of {percent}%. What mass of "
        "the gas is collected? (CaCO3 100.09 g/mol, CO2 44.01 g/mol)",
        theoretical * percent / 100,
        "g",
        "One mole of carbonate gives one mole of gas.",
        f"{mass} g are {mass / 100.09:.4g} mol, which would give {theoretical:.4g} g; {percent}% of that is "
        f"{theoretical * percent / 100:.3g} g.",
    )


def orbit(rng: random.Random) -> Calculation:
    height = rng.randint(3, 40) * 100
    radius = 6371e3 + height * 1e3
    value = 2 * math.pi * math.sqrt(radius**3 / 3.986e14) / 60
    return Calculation(
        "orbital mechanics",
        f"A satellite circles the Earth {height} km above the ground. How many minutes does one revolution take? Use "
        "GM = 3.986e14 m³/s² and an Earth radius of 6371 km.",
        value,
        "min",
        "Gravity supplies the centripetal force; the mass drops out.",
        f"With $r = {radius:.4g}$ m, $T = 2\\pi\\sqrt{{r^3/GM}} = {60 * value:.4g}$ s, that is {value:.3g} minutes.",
    )


CALCULATIONS: tuple[Callable[[random.Random], Calculation], ...] = (
    half_life,
    dilution,
    free_fall,
    strong_acid,
    calorimetry,
    lens,
    parallel_resistors,
    photon,
    ideal_gas,
    spring,
    yield_of_reaction,
    orbit,
)
