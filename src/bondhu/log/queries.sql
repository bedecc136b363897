-- name: add_action_set
INSERT INTO action_set (actions) VALUES (?) ON CONFLICT (actions) DO NOTHING;

-- name: action_set_number
SELECT id FROM action_set WHERE actions = ?;

-- name: action_sets
SELECT actions FROM action_set JOIN json_each(?) AS wanted ON wanted.value = action_set.id ORDER BY wanted.key;

-- name: add_decision
INSERT INTO decision (id, domain, session, "user", time, context, allowed, action, probability, memo, version, variant)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING;

-- name: add_feedback
INSERT INTO feedback (id, decision, decision_id, signal, value, time, replaces)
VALUES (?1, (SELECT seq FROM decision WHERE id = ?2), ?2, ?3, ?4, ?5, ?6) ON CONFLICT (id) DO NOTHING;

-- name: is_feedback_early
SELECT EXISTS (SELECT 1 FROM feedback WHERE decision IS NULL);

-- name: match_early_feedback
UPDATE feedback SET decision = (SELECT seq FROM decision WHERE id = decision_id)
WHERE decision IS NULL AND decision_id IN (SELECT value FROM json_each(?));

-- name: decision_row
SELECT id, domain, session, "user", time, context, allowed, action, probability, memo, version, variant
FROM decision WHERE id = ?;

-- name: decision
SELECT decision.seq, decision.id, domain, session, "user", time, context, actions, action, probability, memo, version,
    variant
FROM decision JOIN action_set ON action_set.id = decision.allowed WHERE decision.id = ?;

-- name: feedback_row
SELECT id, decision_id, signal, value, time, replaces FROM feedback WHERE id = ?;

-- name: feedback_of_decision
SELECT id, decision_id, signal, value, time, replaces FROM feedback WHERE decision = ? ORDER BY seq;

-- name: span
-- Rows arrive nearly in time order, so a window of time is nearly a range of `seq`, which reads without seeking.
SELECT min(seq), max(seq) FROM decision WHERE domain = ? AND time >= ? AND time < ?;

-- name: decisions
SELECT seq, id, session, "user", time, CAST(context AS BLOB), allowed, action, probability, memo, version, variant
FROM decision WHERE seq BETWEEN ? AND ? AND +domain = ? AND +time >= ? AND +time < ? ORDER BY seq;

-- name: feedback
-- The sign of `seq` says whether the row replaces another.
SELECT decision, iif(replaces IS NULL, seq, -seq), signal, value, time
FROM feedback WHERE decision BETWEEN ? AND ? ORDER BY decision;

-- name: revised
SELECT decision_id, time, seq, feedback.id, feedback.value, replaces
FROM json_each(?) AS wanted JOIN feedback ON feedback.decision = wanted.value;

-- name: domains
WITH RECURSIVE each (name) AS (
    SELECT min(domain) FROM decision
    UNION ALL SELECT (SELECT min(domain) FROM decision WHERE domain > name) FROM each WHERE name IS NOT NULL
)
SELECT name FROM each WHERE name IS NOT NULL;

-- name: summary_of_decisions
SELECT count(*), min(time), max(time) FROM decision WHERE domain = ?;

-- name: summary_of_feedback
SELECT count(*) FROM feedback CROSS JOIN decision ON decision.seq = feedback.decision WHERE decision.domain = ?;

-- name: unmatched
SELECT count(*) FROM feedback WHERE decision IS NULL;

-- name: size
SELECT page_count * page_size FROM pragma_page_count, pragma_page_size;

-- name: add_task
INSERT INTO system_tasks
    (task_name, executed_at, status, users_processed, records_processed, duration_seconds, metadata, error)
VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- name: recent_tasks
SELECT task_name, executed_at, status, users_processed, records_processed, duration_seconds, metadata, error
FROM system_tasks WHERE task_name = ? ORDER BY executed_at DESC, id DESC LIMIT ?;

-- name: training_statistics
SELECT
  executed_at,
  users_processed,
  records_processed,
  metadata->'training'->>'average_reward' as avg_reward,
  metadata->'training'->>'agent_stats' as agent_stats
FROM system_tasks
WHERE task_name = 'rl_training'
ORDER BY executed_at DESC
LIMIT 5;

-- name: training_progress
-- As PostgreSQL's `(…)::float` and `(…)::int`, which SQLite has not.
SELECT
  DATE(executed_at) as training_date,
  AVG(CAST(metadata->'training'->>'average_reward' AS REAL)) as avg_reward,
  SUM(CAST(metadata->'training'->>'users_trained' AS INTEGER)) as total_users
FROM system_tasks
WHERE task_name = 'rl_training'
  AND status = 'completed'
GROUP BY DATE(executed_at)
ORDER BY training_date DESC;
