-- name: add_action_sets
INSERT INTO action_set (actions) SELECT unnest($1::text[]) ON CONFLICT (actions) DO NOTHING;

-- name: action_set_numbers
SELECT actions, id FROM action_set WHERE actions = ANY ($1::text[]);

-- name: action_sets
SELECT id, actions FROM action_set WHERE id = ANY ($1::int[]);

-- name: next_numbers
SELECT array_agg(nextval('decision_seq_seq')) FROM generate_series(1, $1);

-- name: add_group
-- All of it or nothing, in one round trip. Scalar subqueries: a join could be planned as a walk over the whole table.
-- Numbered as they arrived, inserted in the order of their ids: of two who insert the same ids one waits for the other,
-- and never each for the other.
WITH made AS (
    INSERT INTO decision
        (seq, id, domain, session, "user", time, context, allowed, action, probability, memo, version, variant, assigned)
    SELECT * FROM (
        SELECT nextval('decision_seq_seq'), new.* FROM unnest(
            $1::text[], $2::text[], $3::text[], $4::text[], $5::float8[], $6::text[], $7::int[], $8::text[],
            $9::float8[], $10::bytea[], $11::text[], $12::text[], $13::float8[]
        ) AS new (id) OFFSET 0
    ) AS numbered ORDER BY id COLLATE "C" ON CONFLICT (id) DO NOTHING RETURNING 1
), said AS (
    INSERT INTO feedback (seq, id, decision, decision_id, signal, value, time, replaces)
    SELECT number, id, (SELECT seq FROM decision WHERE decision.id = new.decision_id),
        decision_id, signal, value, time, replaces
    FROM (
        SELECT nextval('feedback_seq_seq'), given.*
        FROM unnest($14::text[], $15::text[], $16::text[], $17::float8[], $18::float8[], $19::text[]) AS given OFFSET 0
    ) AS new (number, id, decision_id, signal, value, time, replaces)
    ORDER BY id COLLATE "C" ON CONFLICT (id) DO NOTHING RETURNING 1
)
SELECT all_new((SELECT count(*) FROM made) = cardinality($1) AND (SELECT count(*) FROM said) = cardinality($14));

-- name: add_decisions
WITH made AS (
    INSERT INTO decision
        (seq, id, domain, session, "user", time, context, allowed, action, probability, memo, version, variant, assigned)
    SELECT * FROM (
        SELECT nextval('decision_seq_seq'), new.* FROM unnest(
            $1::text[], $2::text[], $3::text[], $4::text[], $5::float8[], $6::text[], $7::int[], $8::text[],
            $9::float8[], $10::bytea[], $11::text[], $12::text[], $13::float8[]
        ) AS new (id) OFFSET 0
    ) AS numbered ORDER BY id COLLATE "C" ON CONFLICT (id) DO NOTHING RETURNING 1
)
SELECT count(*) FROM made;

-- name: add_feedback
WITH said AS (
    INSERT INTO feedback (seq, id, decision, decision_id, signal, value, time, replaces)
    SELECT number, id, (SELECT seq FROM decision WHERE decision.id = new.decision_id),
        decision_id, signal, value, time, replaces
    FROM (
        SELECT nextval('feedback_seq_seq'), given.*
        FROM unnest($1::text[], $2::text[], $3::text[], $4::float8[], $5::float8[], $6::text[]) AS given OFFSET 0
    ) AS new (number, id, decision_id, signal, value, time, replaces)
    ORDER BY id COLLATE "C" ON CONFLICT (id) DO NOTHING RETURNING 1
)
SELECT count(*) FROM said;

-- name: decision_rows
SELECT id, domain, session, "user", time, context, allowed, action, probability, memo, version, variant, assigned
FROM decision WHERE id = ANY ($1::text[]);

-- name: feedback_rows
SELECT id, decision_id, signal, value, time, replaces FROM feedback WHERE id = ANY ($1::text[]);

-- name: is_feedback_early
SELECT EXISTS (SELECT FROM feedback JOIN decision ON decision.id = decision_id WHERE feedback.decision IS NULL);

-- name: match_early_feedback
UPDATE feedback SET decision = decision.seq
FROM decision WHERE feedback.decision IS NULL AND decision.id = feedback.decision_id;

-- name: decision
SELECT decision.seq, decision.id, domain, session, "user", time, context, actions, action, probability, memo, version,
    variant, assigned
FROM decision JOIN action_set ON action_set.id = decision.allowed WHERE decision.id = $1;

-- name: feedback_of_decision
SELECT id, decision_id, signal, value, time, replaces FROM (
    SELECT * FROM feedback WHERE decision = $1
    UNION ALL SELECT * FROM feedback WHERE decision IS NULL AND decision_id = $2
) AS said ORDER BY seq;

-- name: span
-- Rows arrive nearly in time order, so a window of time is nearly a range of `seq`. The sum keeps the index on time.
SELECT min(seq + 0), max(seq + 0) FROM decision WHERE domain = $1 AND time >= $2 AND time < $3;

-- name: decisions
-- Each column of the next rows in one value, in order of `seq`. The offset keeps the walk along the key.
SELECT string_agg(int8send(seq), ''), string_agg(id, E'\x1e'), string_agg(float8send(time), ''),
    convert_to(string_agg(context, E'\x1e'), 'UTF8'), string_agg(int8send(allowed), ''),
    string_agg(coalesce("user", E'\x1bn') || E'\x1b|' || session, E'\x1e'),
    string_agg(action, E'\x1e'), string_agg(version, E'\x1e'), string_agg(variant, E'\x1e'),
    string_agg(float8send(probability), ''), string_agg(float8send(assigned), ''),
    string_agg(int8send(coalesce(length(memo), 0) / 8), ''), string_agg(memo, '')
FROM (
    SELECT * FROM (SELECT * FROM decision WHERE seq > $1 AND seq <= $2 ORDER BY seq OFFSET 0) AS walk
    WHERE domain = $3 AND time >= $4 AND time < $5 LIMIT $6
) AS rows;

-- name: feedback
-- As above, in order of `decision`, then of `seq`: that of the index.
SELECT string_agg(int8send(decision), ''), string_agg(int8send(seq), ''),
    string_agg(int8send(decision), '') FILTER (WHERE replaces IS NOT NULL),
    string_agg(signal, E'\x1e'), string_agg(float8send(coalesce(value, 'NaN')), ''), string_agg(float8send(time), '')
FROM (
    SELECT * FROM feedback WHERE (decision, seq) > ($1, $2) AND decision <= $3 ORDER BY decision, seq LIMIT $4
) AS rows;

-- name: revised
-- In the order of `feedback`.
SELECT decision_id, time, seq, id, value, replaces FROM feedback WHERE decision = ANY ($1::bigint[])
ORDER BY decision, seq;

-- name: domains
WITH RECURSIVE each (name) AS (
    SELECT min(domain) FROM decision
    UNION ALL SELECT (SELECT min(domain) FROM decision WHERE domain > name) FROM each WHERE name IS NOT NULL
)
SELECT name FROM each WHERE name IS NOT NULL;

-- name: summary
SELECT count(*), (SELECT count(*) FROM heard JOIN decision ON decision.seq = heard.decision WHERE domain = $1),
    min(time), max(time),
    (SELECT count(*) FROM feedback WHERE decision IS NULL
        AND NOT EXISTS (SELECT FROM decision WHERE decision.id = decision_id)),
    pg_total_relation_size('decision') + pg_total_relation_size('feedback') + pg_total_relation_size('action_set')
        + pg_total_relation_size('system_tasks') + pg_total_relation_size('ledger')
        + pg_total_relation_size('transcript')
FROM decision WHERE domain = $1;

-- name: reach
SELECT min(time), count(*)
FROM (SELECT time FROM decision WHERE domain = $1 AND time < $2 ORDER BY time DESC LIMIT $3) AS newest;

-- name: facts
-- The next decisions in order of arrival.
SELECT decision.seq, decision.id, domain, session, "user", time, context, actions, action, probability, memo, version,
    variant, assigned
FROM (
    SELECT * FROM (SELECT * FROM decision WHERE seq > $1 ORDER BY seq OFFSET 0) AS walk
    WHERE domain = $2 AND time >= $3 AND time < $4 LIMIT $5
) AS decision JOIN action_set ON action_set.id = decision.allowed ORDER BY seq;

-- name: said_of
SELECT seq, id, decision_id, signal, value, time, replaces FROM feedback WHERE decision = ANY ($1::bigint[])
UNION ALL SELECT seq, id, decision_id, signal, value, time, replaces FROM feedback
WHERE decision IS NULL AND decision_id = ANY ($2::text[]);

-- name: waiting
SELECT seq, id, decision_id, signal, value, time, replaces FROM feedback
WHERE decision IS NULL AND seq > $1 AND NOT EXISTS (SELECT FROM decision WHERE decision.id = decision_id)
ORDER BY seq LIMIT $2;

-- name: old_sessions
-- Those that are over: none of their decisions is as young as this.
SELECT seq, id, session FROM decision WHERE domain = $1 AND time < $2
    AND session NOT IN (SELECT session FROM decision WHERE domain = $1 AND time >= $2)
ORDER BY session, seq;

-- name: sessions_gone_on
SELECT DISTINCT session FROM decision
WHERE seq > $1 AND domain = $2 AND session = ANY ($3::text[]) AND NOT seq = ANY ($4::bigint[]);

-- name: of_user
-- Theirs, and those of nobody known in sessions that only they had.
WITH theirs AS MATERIALIZED (SELECT DISTINCT session FROM decision WHERE domain = $1 AND "user" = $2),
others AS MATERIALIZED (
    SELECT DISTINCT session FROM decision
    WHERE domain = $1 AND "user" <> $2 AND "user" <> '' AND session IN (SELECT session FROM theirs)
)
SELECT seq, id FROM decision WHERE domain = $1 AND ("user" = $2 OR (
    coalesce("user", '') = ''
    AND session IN (SELECT session FROM theirs) AND session NOT IN (SELECT session FROM others)
)) ORDER BY seq;

-- name: delete_decisions
DELETE FROM decision WHERE seq = ANY ($1::bigint[]);

-- name: delete_feedback
DELETE FROM feedback WHERE decision = ANY ($1::bigint[]) OR (decision IS NULL AND decision_id = ANY ($2::text[]))
RETURNING id;

-- name: delete_feedback_by_id
DELETE FROM feedback WHERE id = ANY ($1::text[]);

-- name: let_feedback_wait
UPDATE feedback SET decision = NULL
WHERE decision IN (SELECT seq FROM decision WHERE id = ANY ($1::text[]));

-- name: delete_decisions_by_id
DELETE FROM decision WHERE id = ANY ($1::text[]);

-- name: delete_transcripts
DELETE FROM transcript WHERE decision_id = ANY ($1::text[]);

-- name: only_beside_decisions
-- Before it is asked which decisions are there: whoever deletes some of them has ended then, or waits.
LOCK TABLE transcript IN ROW EXCLUSIVE MODE;

-- name: decisions_there
SELECT id FROM decision WHERE id = ANY ($1::text[]);

-- name: add_transcripts
-- Only beside its decision: what waited for one that was erased could never be found by the person's name. In the order
-- of ids, as `add_group`.
INSERT INTO transcript (seq, decision_id, domain, session, decided, time, body)
SELECT number, decision.id, domain, session, decision.time, new.time, body FROM (
    SELECT nextval('transcript_seq_seq'), given.* FROM unnest($1::text[], $2::float8[], $3::text[]) AS given OFFSET 0
) AS new (number, id, time, body) JOIN decision ON decision.id = new.id ORDER BY decision.id COLLATE "C"
ON CONFLICT (decision_id) DO NOTHING;

-- name: transcripts
SELECT decision_id, time, body FROM transcript WHERE decision_id = ANY ($1::text[]) ORDER BY seq;

-- name: latest_of_session
SELECT said.decision_id, said.time, said.body FROM transcript AS said JOIN decision ON decision.id = said.decision_id
WHERE said.domain = $1 AND said.session = $2 AND decision."user" IS NOT DISTINCT FROM $3
ORDER BY said.decided DESC, said.seq DESC LIMIT 1;

-- name: add_task
INSERT INTO system_tasks
    (task_name, executed_at, status, users_processed, records_processed, duration_seconds, metadata, error)
VALUES ($1, $2, $3, $4, $5, $6, $7::text::jsonb, $8);

-- name: recent_tasks
SELECT task_name, executed_at, status, users_processed, records_processed, duration_seconds, metadata::text, error
FROM system_tasks WHERE task_name = $1 ORDER BY executed_at DESC, id DESC LIMIT $2;

-- name: task_names
SELECT DISTINCT task_name FROM system_tasks;

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
SELECT
  DATE(executed_at) as training_date,
  AVG((metadata->'training'->>'average_reward')::float) as avg_reward,
  SUM((metadata->'training'->>'users_trained')::int) as total_users
FROM system_tasks
WHERE task_name = 'rl_training'
  AND status = 'completed'
GROUP BY DATE(executed_at)
ORDER BY training_date DESC;

-- name: one_at_a_time
-- Entries then appear in the order of `seq`, so that nobody who asks for those after one misses any.
LOCK TABLE ledger IN SHARE ROW EXCLUSIVE MODE;

-- name: note
INSERT INTO ledger (time, kind, domain, body) VALUES ($1, $2, $3, $4) RETURNING seq;

-- name: entries
SELECT seq, time, kind, domain, body FROM ledger
WHERE kind = $1 AND seq > $3 AND ($2::text IS NULL OR domain = $2) ORDER BY seq;

-- name: kinds
SELECT DISTINCT kind FROM ledger;
