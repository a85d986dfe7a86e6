"""Keep the samples of live nodes: in memory, and on disk over restarts."""
