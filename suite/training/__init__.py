"""How a cohort is trained on a device: networks, lanes, steps, and the memory that they take."""
