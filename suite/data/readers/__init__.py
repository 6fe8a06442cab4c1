"""What reads the original files of data sets, one module for each form of distribution."""
