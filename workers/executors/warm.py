"""Imported by the forkserver: compiles the fused kernels once for all trials of a worker.

Without their compiler, trials train with the plain activations, and there is nothing to do.
"""

from search_space import kernels

if kernels.available("cpu"):
    from search_space.kernels.warm import warm

    warm()
