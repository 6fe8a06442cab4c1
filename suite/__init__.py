"""The suite: sequences, data, networks, protocol, engine, records and the command line."""
