"""Parse files of tables and logs, and guess what their columns are; needs pyarrow."""
