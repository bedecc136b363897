-- Decisions and feedback are facts: rows are added, never changed, but that early feedback finds its decision later.
CREATE TABLE action_set (
    id INTEGER PRIMARY KEY,
    actions TEXT NOT NULL UNIQUE  -- JSON array of names
) STRICT;

CREATE TABLE decision (
    seq INTEGER PRIMARY KEY,  -- order of arrival
    id TEXT NOT NULL UNIQUE,
    domain TEXT NOT NULL,
    session TEXT NOT NULL,
    "user" TEXT,
    time REAL NOT NULL,  -- seconds
    context TEXT NOT NULL,  -- JSON object as sent
    allowed INTEGER NOT NULL REFERENCES action_set (id),
    action TEXT NOT NULL,
    probability REAL NOT NULL CHECK (probability > 0 AND probability <= 1),
    memo BLOB,  -- float64, little-endian; NULL: none
    version TEXT NOT NULL,
    variant TEXT NOT NULL
) STRICT;
CREATE INDEX decision_by_time ON decision (domain, time);

CREATE TABLE feedback (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    decision INTEGER REFERENCES decision (seq),  -- NULL until the decision arrives
    decision_id TEXT NOT NULL,
    signal TEXT NOT NULL,
    value REAL,  -- NULL revokes the row named by `replaces`
    time REAL NOT NULL,
    replaces TEXT
) STRICT;
CREATE INDEX feedback_by_decision ON feedback (decision) WHERE decision IS NOT NULL;
CREATE INDEX feedback_unmatched ON feedback (decision_id) WHERE decision IS NULL;
