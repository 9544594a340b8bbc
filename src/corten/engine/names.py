"""Names and IDs of containers and volumes."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Container

from corten.errors import InvalidInput

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+", re.ASCII)

_ADJECTIVES = """
able amber apt austere balmy bold brave breezy bright brisk calm candid careful cheerful civil clear clever
cosy crisp curious daring dapper deft eager earnest easy exact fair famous fearless fleet fluent fond frank fresh
frugal gallant gentle gifted glad golden graceful grand hale handy hardy honest humble jolly jovial keen kind
lively loyal lucid mellow merry mild modest neat nimble noble patient placid playful plucky polite prompt proud
quick quiet ready rosy rustic sage serene sharp silent silver sleek smart snug sober solid spry stable steady
stoic strong sturdy subtle sunny swift tender thrifty tidy tranquil trusty upbeat valiant vivid warm wise witty
""".split()

_SURNAMES = """
abel agnesi aiken al_khwarizmi ampere anning arber archimedes aryabhata avogadro babbage backus banach bardeen
bernoulli bessemer bohr boole bose brahe brunel cannon carson cauchy cerf chandrasekhar chatelet church clarke
codd cori curie daguerre darwin davies dijkstra dirac earhart eckert edison einstein engelbart erdos euclid euler
faraday fermat fermi feynman floyd franklin galileo galois gauss germain goedel goodall haber hamilton hawking
heaviside hero herschel hertz hilbert hoare hodgkin hopper huygens hypatia iverson jacquard joule kahn kay kelvin
kepler kilby knuth kovalevskaya lamarr lamport laplace leavitt leibniz linnaeus liskov lovelace mach markov
maxwell mccarthy meitner mendel metcalfe mirzakhani moore morse napier naur newell newton nightingale noether
nyquist ohm pasteur pascal payne perlman planck poincare postel ramanujan riemann ritchie rontgen rubin rutherford
sammet shannon shockley snow stallman stokes tarjan tesla thompson torricelli turing volta watt wescoff wiener
wilkes wirth wozniak wright wu yonath zuse
""".split()


def new_id() -> str:
    """64 random hex digits. Not digits alone in the first twelve: a short ID must not look like a number."""
    while True:
        id = os.urandom(32).hex()
        if not id[:12].isdigit():
            return id


def random_name(taken: Container[str], chance: random.Random | None = None) -> str:
    """``adjective_surname``, with a digit after it when that is taken."""
    chance = chance or random.SystemRandom()
    for attempt in range(100):
        name = f"{chance.choice(_ADJECTIVES)}_{chance.choice(_SURNAMES)}"
        name += str(chance.randrange(10)) if attempt else ""
        if name not in taken:
            return name
    return f"{name}_{new_id()[:12]}"


def container_name(text: str) -> str:
    """A name that a user gave, without its leading slash. Raises InvalidInput in Docker's words."""
    name = text.removeprefix("/")
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"Invalid container name ({text}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
    return name


def volume_name(name: str) -> str:
    """A volume's name, as it is. Raises InvalidInput in Docker's words."""
    if len(name) == 1:
        raise InvalidInput("volume name is too short, names should be at least two alphanumeric characters")
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f'"{name}" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are '
            "allowed. If you intended to pass a host directory, use absolute path"
        )
    return name
