# Everything CI checks, in the order in which it fails fastest.
check: lint types test

# Format and lint.
lint:
    ruff format --check .
    ruff check .

# Static types.
types:
    mypy --num-workers 2

# All tests, real processes included: files in parallel in the order of collection, the tests of a file one
# after the other.
test *ARGS:
    pytest -n 3 --dist loadfile --no-loadscope-reorder --durations=25 {{ARGS}}

# Rewrite files to the house format.
format:
    ruff format .
    ruff check --fix .
