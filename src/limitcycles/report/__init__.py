"""The report: one page, a table."""
