-- Decisions and feedback are facts: rows are added, never changed, but that early feedback finds its decision later.
-- What names people has no statistics (0): those would keep a few names after the rows are gone.
-- No foreign keys: checking them locks the same few rows for every writer, and rows are only written by Bondhu.
CREATE TABLE action_set (
    id serial PRIMARY KEY,
    actions text COLLATE "C" NOT NULL UNIQUE  -- JSON array of names
);

CREATE TABLE decision (
    seq bigserial PRIMARY KEY,  -- order of arrival
    id text COLLATE "C" NOT NULL UNIQUE,
    domain text COLLATE "C" NOT NULL,
    session text COLLATE "C" NOT NULL,
    "user" text COLLATE "C",
    time float8 NOT NULL,  -- seconds
    context text COLLATE "C" NOT NULL,  -- JSON object as sent, byte for byte
    allowed integer NOT NULL,  -- id of an action_set
    action text COLLATE "C" NOT NULL,
    probability float8 NOT NULL CHECK (probability > 0 AND probability <= 1),
    memo bytea,  -- float64, little-endian; NULL: none
    version text COLLATE "C" NOT NULL,
    variant text COLLATE "C" NOT NULL,
    assigned float8 NOT NULL CHECK (assigned > 0 AND assigned <= 1)  -- probability of being given the variant
);
CREATE INDEX decision_by_time ON decision (domain, time) INCLUDE (seq);
ALTER TABLE decision
    ALTER COLUMN id SET STATISTICS 0, ALTER COLUMN session SET STATISTICS 0, ALTER COLUMN "user" SET STATISTICS 0,
    ALTER COLUMN context SET STATISTICS 0, ALTER COLUMN memo SET STATISTICS 0;

CREATE TABLE feedback (
    seq bigserial PRIMARY KEY,
    id text COLLATE "C" NOT NULL UNIQUE,
    decision bigint,  -- seq of the decision; NULL where it was not there yet
    decision_id text COLLATE "C" NOT NULL,
    signal text COLLATE "C" NOT NULL,
    value float8,  -- NULL revokes the row named by `replaces`
    time float8 NOT NULL,
    replaces text COLLATE "C"
);
CREATE INDEX feedback_by_decision ON feedback (decision, seq) WHERE decision IS NOT NULL;
CREATE INDEX feedback_unmatched ON feedback (decision_id) WHERE decision IS NULL;
ALTER TABLE feedback
    ALTER COLUMN id SET STATISTICS 0, ALTER COLUMN decision_id SET STATISTICS 0, ALTER COLUMN replaces SET STATISTICS 0;

-- Feedback beside its decision, wherever both are there. Two transactions that end at the same moment may leave
-- feedback without the number of its decision: neither saw the other. It is found here by the decision's id.
CREATE VIEW heard AS
    SELECT seq, id, decision, decision_id, signal, value, time, replaces FROM feedback WHERE decision IS NOT NULL
    UNION ALL
    SELECT feedback.seq, feedback.id, decision.seq, decision_id, signal, value, feedback.time, replaces
    FROM feedback JOIN decision ON decision.id = decision_id WHERE feedback.decision IS NULL;

-- Undoes a statement some of whose rows were stored before, so that all of it or nothing takes one round trip.
CREATE FUNCTION all_new(yes boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT yes THEN
        RAISE unique_violation USING MESSAGE = 'some of these rows are stored already';
    END IF;
END $$;
