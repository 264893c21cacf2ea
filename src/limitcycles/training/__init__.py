"""Networks and their training; `compiled` has loops for small ones, `trajectories` keeps every epoch."""
