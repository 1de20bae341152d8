"""The maximum sizes of constraints.

Within these limits the engine compiled grammars in about two seconds or less (measured with 2 cores and a
vocabulary of 49 k tokens), and the frontend usually compiles a constraint in some tens of milliseconds.
"""

SCHEMA_BYTES = 128 * 1024  # approximate length of the schema as JSON
SCHEMA_NODES = 10_000  # objects, lists and values in it
SCHEMA_DEPTH = 64
GRAMMAR_BYTES = 256 * 1024  # of the resulting EBNF
GRAMMAR_RULES = 4_000
MERGES = 8_000  # of shapes, while combining $ref, allOf, anyOf and oneOf
ALTERNATIVES = 256  # of one value, after combining
CHOICES = 1_000  # options of a choice
CHOICE_BYTES = 32 * 1024  # total length of the options
ITEMS = 1_000  # minItems, minProperties
LENGTH = 1_000  # minLength

PATTERN_BYTES = 4 * 1024
PATTERN_DEPTH = 32
PATTERN_STATES = 3_000  # of the nondeterministic automaton, with repetitions unrolled
PATTERN_STEPS = 60_000  # for building deterministic automata
AUTOMATON_STATES = 400  # of a deterministic automaton
# States that accept most letters. The engine tries nearly the whole vocabulary for each of them, which takes
# 8 ms, and as long again if the state accepts a space.
WIDE_STATES = 200

CACHE_BYTES = 32 * 1024 * 1024  # memory for compiled formats
AUTOMATA_BYTES = 8 * 1024 * 1024  # memory for automata of patterns

EBNF_BYTES = 32 * 1024
EBNF_RULES = 200
EBNF_DEPTH = 32  # of nested groups
