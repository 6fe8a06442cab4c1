"""Training a cohort on a device: networks, hooks, steps, and the memory that they take."""
