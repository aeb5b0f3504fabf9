"""The parts of `tests.benchmarks.reproduction`."""
