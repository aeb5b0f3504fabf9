"""Compiles the fused kernels once for all trials of a worker; the forkserver imports this module.

Without a compiler for them, trials use the plain activations.
"""

from search_space import kernels

if kernels.available("cpu"):
    from search_space.kernels.warm import warm

    warm()
