"""The command line, ``temporal-pairs``: one module a command, which `temporalpairs.cli.main` finds by itself.

A command's module has ``HELP``, a phrase for the list of commands; ``add(parser)``, which adds its arguments; and
``run(options)``. It imports what it works with when it runs, so that help answers at once. Modules whose names begin
with an underscore are no commands.
"""
