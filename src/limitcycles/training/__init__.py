"""Networks and their training; `compiled` has loops for small ones, `trajectories` every epoch."""
