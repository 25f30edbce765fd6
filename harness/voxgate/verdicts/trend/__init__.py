"""The history of records: read from a folder, as series, with the levels of each."""
