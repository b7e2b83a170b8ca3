"""Models that tests of this folder share."""

from sample_model import trained  # noqa: F401 (a fixture)
