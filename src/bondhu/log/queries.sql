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

-- name: add_feedback_beside
-- The same only beside its decision, as `add_transcript`.
INSERT INTO feedback (id, decision, decision_id, signal, value, time, replaces)
SELECT ?1, seq, ?2, ?3, ?4, ?5, ?6 FROM decision WHERE id = ?2 ON CONFLICT (id) DO NOTHING;

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

-- name: reach
SELECT min(time), count(*)
FROM (SELECT time FROM decision WHERE domain = ? AND time < ? ORDER BY time DESC LIMIT ?);

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

-- name: piece
-- A piece of a log as it arrived.
SELECT seq, decision.id, domain, session, "user", time, context, actions, action, probability, memo, version, variant,
    assigned
FROM decision JOIN action_set ON action_set.id = decision.allowed
WHERE seq BETWEEN ? AND ? AND +domain = ? AND +time >= ? AND +time < ? ORDER BY seq LIMIT ?;

-- name: feedback_of_piece
SELECT decision, id, decision_id, signal, value, time, replaces
FROM feedback INDEXED BY feedback_by_decision WHERE decision BETWEEN ? AND ? ORDER BY decision, seq;

-- name: waiting
SELECT id, decision_id, signal, value, time, replaces FROM feedback WHERE decision IS NULL ORDER BY seq;

-- name: old_sessions
-- Sessions that ended before a time: their decisions, session by session.
SELECT session, seq FROM decision WHERE domain = ?1 AND time < ?2
    AND session NOT IN (SELECT session FROM decision WHERE domain = ?1 AND time >= ?2)
ORDER BY session;

-- name: went_on
SELECT DISTINCT session FROM decision
WHERE seq > ? AND domain = ? AND session IN (SELECT value FROM json_each(?));

-- name: last
SELECT ifnull(max(seq), 0) FROM decision;

-- name: decisions_of_user
-- Theirs, and those of nobody known in sessions that only they had.
WITH theirs AS MATERIALIZED (SELECT DISTINCT session FROM decision WHERE +domain = ?1 AND "user" = ?2),
others AS MATERIALIZED (
    SELECT DISTINCT session FROM decision
    WHERE +domain = ?1 AND "user" <> ?2 AND "user" <> '' AND session IN theirs
)
SELECT seq FROM decision WHERE +domain = ?1
    AND ("user" = ?2 OR (ifnull("user", '') = '' AND session IN theirs AND session NOT IN others));

-- name: delete_feedback_of
DELETE FROM feedback WHERE decision IN (SELECT value FROM json_each(?)) RETURNING id;

-- name: delete_decisions
DELETE FROM decision WHERE seq IN (SELECT value FROM json_each(?)) RETURNING id;

-- name: delete_feedback_by_id
DELETE FROM feedback WHERE id IN (SELECT value FROM json_each(?));

-- name: delete_waiting_for
DELETE FROM feedback WHERE decision IS NULL AND decision_id IN (SELECT value FROM json_each(?)) RETURNING id;

-- name: let_feedback_wait
UPDATE feedback SET decision = NULL
WHERE decision IN (SELECT seq FROM decision WHERE id IN (SELECT value FROM json_each(?)));

-- name: delete_decisions_by_id
DELETE FROM decision WHERE id IN (SELECT value FROM json_each(?));

-- name: delete_transcripts_of
DELETE FROM transcript WHERE decision_id IN (SELECT id FROM decision WHERE seq IN (SELECT value FROM json_each(?)));

-- name: delete_transcripts_by_id
DELETE FROM transcript WHERE decision_id IN (SELECT value FROM json_each(?));

-- name: add_transcript
-- Only beside its decision: what waited for one that was erased could never be found by the person's name.
INSERT INTO transcript (decision_id, domain, session, decided, time, body)
SELECT id, domain, session, time, ?2, ?3 FROM decision WHERE id = ?1 ON CONFLICT (decision_id) DO NOTHING;

-- name: transcripts
SELECT decision_id, time, body FROM transcript
WHERE decision_id IN (SELECT value FROM json_each(?)) ORDER BY seq;

-- name: latest_of_session
SELECT said.decision_id, said.time, said.body
FROM transcript AS said INDEXED BY transcript_by_session CROSS JOIN decision ON decision.id = said.decision_id
WHERE said.domain = ? AND said.session = ? AND decision."user" IS ? ORDER BY said.decided DESC, said.seq DESC LIMIT 1;

-- name: held
-- Whether anything is in the store.
SELECT EXISTS (SELECT 1 FROM decision) OR EXISTS (SELECT 1 FROM feedback) OR EXISTS (SELECT 1 FROM system_tasks)
    OR EXISTS (SELECT 1 FROM ledger);

-- name: domains
WITH RECURSIVE each (name) AS (
    SELECT min(domain) FROM decision
    UNION ALL SELECT (SELECT min(domain) FROM decision WHERE domain > name) FROM each WHERE name IS NOT NULL
)
SELECT name FROM each WHERE name IS NOT NULL;

-- name: bounds_of_decisions
SELECT (SELECT min(time) FROM decision WHERE domain = ?1), (SELECT max(time) FROM decision WHERE domain = ?1);

-- name: far_decision
-- So many decisions further on in the order of time.
SELECT time, seq FROM decision
WHERE domain = ? AND (time, seq) > (?, ?) ORDER BY time, seq LIMIT 1 OFFSET ? - 1;

-- name: decisions_after
SELECT count(*) FROM decision WHERE domain = ? AND (time, seq) > (?, ?);

-- name: summary_of_feedback
SELECT count(*) FROM feedback INDEXED BY feedback_by_decision
    CROSS JOIN decision ON decision.seq = feedback.decision
WHERE feedback.decision BETWEEN ? AND ? AND decision.domain = ?;

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

-- name: task_names
SELECT DISTINCT task_name FROM system_tasks ORDER BY task_name;

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

-- name: note
INSERT INTO ledger (time, kind, domain, body) VALUES (?, ?, ?, ?) RETURNING seq;

-- name: entries
SELECT seq, time, kind, domain, body FROM ledger
WHERE kind = ?1 AND seq > ?3 AND (?2 IS NULL OR domain = ?2) ORDER BY seq;

-- name: kinds
SELECT DISTINCT kind FROM ledger ORDER BY kind;
