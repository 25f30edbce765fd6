"""Everything that is written as JSON, frozen."""
