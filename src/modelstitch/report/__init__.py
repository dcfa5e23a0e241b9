"""Reports: one page of a run that works offline, its figures for a paper, and verdicts on what was expected.

Everything here reads numbers that others found; no network is run, and torch is not loaded.
"""

from modelstitch.recipe.published import Reference
from modelstitch.report.findings import Findings
from modelstitch.report.gallery import write_figures
from modelstitch.report.gathered import findings_of
from modelstitch.report.page import page, write_page
from modelstitch.report.verdicts import Verdict, judge

__all__ = ["Findings", "Reference", "Verdict", "findings_of", "judge", "page", "write_figures", "write_page"]
