"""What a released version stored and answered, kept to compare later versions with.

`python -m tests.support.golden` writes it; `tests/service/test_compatibility.py` compares.
"""
