"""Makes each thing once: a cache, and a process for each job."""
