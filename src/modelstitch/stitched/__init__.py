"""The stitched network ``B>m ∘ s ∘ A≤l``: a network like any other, to be cut again, saved and exported.

``stitched`` joins the three parts, ``portable`` says what it is called with, ``saved`` writes it to a folder and reads
it again, ``export`` writes it to one file for other programs.
"""

from modelstitch.stitched.saved import Loaded, load_stitched
from modelstitch.stitched.stitched import Stitched

__all__ = ["Loaded", "Stitched", "load_stitched"]
