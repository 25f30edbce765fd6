"""What people see of a run: progress, tables, pages with charts."""
