"""The dashboard's server. Empty for now: the command line is the only face."""
