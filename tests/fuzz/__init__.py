"""``make fuzz``: coverage-guided fuzzing with Atheris of everything that reads bytes. See `tests.fuzz.__main__`."""
