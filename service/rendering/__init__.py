"""Renders figures, bundles and Optuna databases, and caches them."""
