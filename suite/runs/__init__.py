"""What is to be done, who does it and how it is told: cells, jobs, workers, progress."""
