"""A model and its page, which tests of this folder share."""

from sample_model import trained  # noqa: F401 (a fixture)
from sample_page import served  # noqa: F401 (a fixture)
