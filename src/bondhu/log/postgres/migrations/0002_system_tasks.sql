-- One row for each run of a job.
CREATE TABLE system_tasks (
    id bigserial PRIMARY KEY,
    task_name text NOT NULL,
    executed_at timestamp NOT NULL,  -- UTC: DATE(executed_at) is then the same for everybody who asks
    status text NOT NULL,
    users_processed integer NOT NULL,
    records_processed bigint NOT NULL,
    duration_seconds float8 NOT NULL,
    metadata jsonb NOT NULL,
    error text
);
CREATE INDEX system_tasks_by_name ON system_tasks (task_name, executed_at);
