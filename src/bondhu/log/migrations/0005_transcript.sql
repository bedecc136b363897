-- What was said around a decision: the messages that led to it, the answer that it led to. It goes with its decision.
CREATE TABLE transcript (
    seq INTEGER PRIMARY KEY,
    decision_id TEXT NOT NULL UNIQUE,
    domain TEXT NOT NULL,  -- this and the next two as the decision has them: an index on all decisions by session
    session TEXT NOT NULL,  -- would cost four times the time of writing one
    decided REAL NOT NULL,  -- seconds
    time REAL NOT NULL,  -- seconds
    body TEXT NOT NULL  -- JSON object
) STRICT;
CREATE INDEX transcript_by_session ON transcript (domain, session, decided);
