-- One row for each run of a job.
CREATE TABLE system_tasks (
    id INTEGER PRIMARY KEY,
    task_name TEXT NOT NULL,
    executed_at TEXT NOT NULL,  -- ISO 8601, UTC
    status TEXT NOT NULL,
    users_processed INTEGER NOT NULL,
    records_processed INTEGER NOT NULL,
    duration_seconds REAL NOT NULL,
    metadata TEXT NOT NULL,  -- JSON object
    error TEXT
) STRICT;
CREATE INDEX system_tasks_by_name ON system_tasks (task_name, executed_at);
