"""Per-sample gradients, the diffusion matrix D and its spectrum; the Hessian."""
