"""The command line, ``temporal-pairs``, one module a command."""
