"""The page at /docs: the OpenAPI document to read and to try."""
