"""What jobs of a task know beyond what every job does; nothing where a job has one result."""
