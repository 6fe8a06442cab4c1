"""A request becomes jobs; a scheduler hands them to worker processes, here or on a cluster."""
