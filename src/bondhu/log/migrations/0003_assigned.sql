-- With what probability the user was given the variant that acted: 1 outside of trials.
ALTER TABLE decision ADD COLUMN assigned REAL NOT NULL DEFAULT 1 CHECK (assigned > 0 AND assigned <= 1);
