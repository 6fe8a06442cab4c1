"""Linear sequences: tasks whose errors are known exactly, to calibrate everything else on."""
