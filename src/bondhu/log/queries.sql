-- name: add_action_set
INSERT INTO action_set (actions) VALUES (?) ON CONFLICT (actions) DO NOTHING;

-- name: action_set_number
SELECT id FROM action_set WHERE actions = ?;

-- name: action_sets
SELECT actions FROM action_set JOIN json_each(?) AS wanted ON wanted.value = action_set.id ORDER BY wanted.key;

-- name: add_decision
INSERT INTO decision
    (id, domain, session, "user", time, context, allowed, action, probability, memo, version, variant, assigned)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING;

-- name: add_feedback
INSERT INTO feedback (id, decision, decision_id, signal, value, time, replaces)
VALUES (?1, (SELECT seq FROM decision WHERE id = ?2), ?2, ?3, ?4, ?5, ?6) ON CONFLICT (id) DO NOTHING;

-- name: is_feedback_early
SELECT EXISTS (SELECT 1 FROM feedback WHERE decision IS NULL);

-- name: match_early_feedback
UPDATE feedback SET decision = (SELECT seq FROM decision WHERE id = decision_id)
WHERE decision IS NULL AND decision_id IN (SELECT value FROM json_each(?));

-- name: decision_row
SELECT id, domain, session, "user", time, context, allowed, action, probability, memo, version, variant, assigned
FROM decision WHERE id = ?;

-- name: decision
SELECT decision.seq, decision.id, domain, session, "user", time, context, actions, action, probability, memo, version,
    variant, assigned
FROM decision JOIN action_set ON action_set.id = decision.allowed WHERE decision.id = ?;

-- name: feedback_row
SELECT id, decision_id, signal, value, time, replaces FROM feedback WHERE id = ?;

-- name: feedback_of_decision
SELECT id, decision_id, signal, value, time, replaces FROM feedback WHERE decision = ? ORDER BY seq;

-- name: span
-- Rows arrive nearly in time order, so a window of time is nearly a range of `seq`, which reads without seeking.
SELECT min(seq), max(seq) FROM decision WHERE domain = ? AND time >= ? AND time < ?;

-- name: decisions
-- Each column of a chunk of rows in one value, in order of `seq`: SQLite visits a range of it in its order.
SELECT json_group_array(seq), json_group_array(id), json_group_array(time),
    CAST(group_concat(context, char(30)) AS BLOB), json_group_array(allowed),
    json_group_array(json_quote("user") || session),  -- hardly more of them than users or sessions: half the work
    json_group_array(action), json_group_array(version), json_group_array(variant),
    json_group_array(probability), json_group_array(assigned),
    json_group_array(ifnull(length(memo), 0) / 8), CAST(group_concat(memo, '') AS BLOB)
FROM decision WHERE seq BETWEEN ? AND ? AND +domain = ? AND +time >= ? AND +time < ?;

-- name: feedback
-- As above, in order of `decision`, then of `seq`: that of the index.
SELECT json_group_array(decision), json_group_array(decision) FILTER (WHERE replaces IS NOT NULL),
    json_group_array(signal), json_group_array(value), json_group_array(time)
FROM feedback INDEXED BY feedback_by_decision WHERE decision BETWEEN ? AND ?;

-- name: revised
-- In the order of `feedback`.
SELECT decision_id, time, seq, id, value, replaces
FROM feedback WHERE decision IN (SELECT value FROM json_each(?)) ORDER BY decision, seq;

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
