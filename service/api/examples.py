"""Examples of what the API is asked, for people who read its reference."""

from fastapi.openapi.models import Example

EXAMPLES: dict[str, Example] = {
    "small": {
        "summary": "The least that a search of images needs",
        "value": {
            "task": {"name": "image-classification", "dataset": "digits", "network": "small-cnn"}
        },
    },
    "usual": {
        "summary": "Own choices, a budget, and a cheaper confirmation",
        "value": {
            "name": "digits-small",
            "task": {
                "name": "image-classification",
                "dataset": "digits",
                "network": "small-cnn",
                "epochs": 8,
            },
            "sites": {"per": "auto", "include": "*", "exclude": []},
            "choices": ["relu", "silu", {"name": "pwlu", "segments": [4, 8, 16]}],
            "budget": {"trials": 40, "hours": 2},
            "parallel": 2,
            "confirm": {"shortlist": 3, "seeds": 5},
        },
    },
}
