"""What was found: one record per stitching, in a store that no kill can corrupt.

A store is one SQLite file, to which several processes may write; a text file with one JSON object a line is its export.
Beware: a failed stitching is a record too. It carries its reason and no value, so that it can never pass for a score.
"""

from modelstitch.records.exporting import Answer, export
from modelstitch.records.left_out import LeftOut, summary
from modelstitch.records.opening import open_failures, open_records, open_stitch, query
from modelstitch.records.record import MeasureRow, Record, ScoreRow
from modelstitch.records.store import Store
from modelstitch.records.table import Records

__all__ = [
    "Answer",
    "LeftOut",
    "MeasureRow",
    "Record",
    "Records",
    "ScoreRow",
    "Store",
    "export",
    "open_failures",
    "open_records",
    "open_stitch",
    "query",
    "summary",
]
