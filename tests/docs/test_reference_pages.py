"""The reference pages say what the documents say."""

import pytest
import reference


@pytest.mark.parametrize(("page", "make"), [("reference.md", reference.api), ("events.md", reference.events)])
def test_a_reference_page_is_as_its_document_makes_it(page, make):
    written = (reference.DOCS / page).read_text(encoding="utf-8")

    assert written == make(), "run python tests/support/reference.py"
