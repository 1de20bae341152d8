"""How large a constraint may be.

Within these bounds a grammar compiled in about two seconds or less where it was measured (2 cores, a
vocabulary of 49 k tokens), and checking one takes some tens of milliseconds, rarely more.
"""

SCHEMA_BYTES = 128 * 1024  # about the length of the schema as JSON
SCHEMA_NODES = 10_000  # objects, lists and values in it
SCHEMA_DEPTH = 64
GRAMMAR_BYTES = 256 * 1024  # of the EBNF that is written
GRAMMAR_RULES = 4_000
MERGES = 8_000  # steps of putting $ref, allOf, anyOf and oneOf together
ALTERNATIVES = 256  # of one value, after that
CHOICES = 1_000  # of a choice
CHOICE_BYTES = 32 * 1024  # all of them together
ITEMS = 1_000  # minItems, minProperties
LENGTH = 1_000  # minLength

PATTERN_BYTES = 4 * 1024
PATTERN_DEPTH = 32
PATTERN_STATES = 3_000  # of the automaton with its repetitions unrolled
PATTERN_STEPS = 60_000  # of making it deterministic
AUTOMATON_STATES = 400  # deterministic
# The engine tries nearly the whole vocabulary for a state that takes most letters: 8 ms, and as much again
# where it takes a space.
WIDE_STATES = 200

CACHE_BYTES = 32 * 1024 * 1024  # of compiled grammars that are kept

EBNF_BYTES = 32 * 1024
EBNF_RULES = 200
EBNF_DEPTH = 32  # of parentheses
