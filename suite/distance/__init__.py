"""The parameter distance between tasks, measured, and the grade that follows."""
