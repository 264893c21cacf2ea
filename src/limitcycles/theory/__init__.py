"""Systems, flows, the Fokker–Planck equation, Langevin paths, linear theory."""
