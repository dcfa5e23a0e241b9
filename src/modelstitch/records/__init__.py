"""What was found: one record per stitching, written so that a killed run loses at most the job in hand.

Records lie in a text file with one JSON object a line, which every tool reads and several processes may append to.
Beware: a failed stitching is a record too. It carries its reason and no value, so that it can never pass for a score.
"""

from modelstitch.records.file import RecordFile, open_records
from modelstitch.records.record import Record
from modelstitch.records.table import Records

__all__ = ["Record", "RecordFile", "Records", "open_records"]
