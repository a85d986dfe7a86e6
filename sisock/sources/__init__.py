"""Help the nodes of data_nodes/ with what they serve: instruments, files, databases."""
