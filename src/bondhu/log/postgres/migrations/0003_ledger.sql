-- What is noted beside the facts: keys, administrative acts, exports, erasures.
CREATE TABLE ledger (
    seq bigserial PRIMARY KEY,  -- never given twice
    time float8 NOT NULL,  -- seconds
    kind text COLLATE "C" NOT NULL,
    domain text COLLATE "C" NOT NULL,
    body text NOT NULL  -- JSON object
);
CREATE INDEX ledger_by_kind ON ledger (kind, seq);
