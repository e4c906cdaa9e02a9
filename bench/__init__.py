"""Benchmarks: ``python -m bench``. What is compared with what, and the budgets, are in `bench.__main__`."""
