"""What was found, put on the screen: tables for people, JSON lines for programs, talk on standard error."""

from modelstitch.cli.show.found import answer, checks, compared, cuts, drawn, figures, leave, merged, nulls, trained
from modelstitch.cli.show.records import records
from modelstitch.cli.show.screen import cell, json_line, put, table_of, talk

__all__ = [
    "answer",
    "cell",
    "checks",
    "compared",
    "cuts",
    "drawn",
    "figures",
    "json_line",
    "leave",
    "merged",
    "nulls",
    "put",
    "records",
    "table_of",
    "talk",
    "trained",
]
