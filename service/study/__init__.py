"""Optuna: live studies, samplers, pruners, and what they see."""
