"""Faults planted in a temporary copy of the library, each of which the tests must catch."""
