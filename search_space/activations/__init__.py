"""The activations as plain torch: one file per family, each the reference of its formula."""
