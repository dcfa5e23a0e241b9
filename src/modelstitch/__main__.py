"""``python -m modelstitch``: the command line where the script is not on the path."""

from modelstitch.cli import main

main()
