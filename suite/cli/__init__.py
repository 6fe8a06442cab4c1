"""The commands, a file each; what they need they import when they run."""
