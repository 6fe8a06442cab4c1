"""From records to the numbers of a board."""
