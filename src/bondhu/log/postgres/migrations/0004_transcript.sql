-- What was said around a decision: the messages that led to it, the answer that it led to. It goes with its decision.
-- No statistics (0) of what may name people: those would keep a few texts after the rows are gone.
CREATE TABLE transcript (
    seq bigserial PRIMARY KEY,
    decision_id text COLLATE "C" NOT NULL UNIQUE,
    domain text COLLATE "C" NOT NULL,  -- this and the next two as the decision has them: an index on all decisions by
    session text COLLATE "C" NOT NULL,  -- session would cost every one of them
    decided float8 NOT NULL,  -- seconds
    time float8 NOT NULL,  -- seconds
    body text COLLATE "C" NOT NULL  -- JSON object
);
ALTER TABLE transcript
    ALTER COLUMN decision_id SET STATISTICS 0, ALTER COLUMN session SET STATISTICS 0, ALTER COLUMN body SET STATISTICS 0;
CREATE INDEX transcript_by_session ON transcript (domain, session, decided, seq);
