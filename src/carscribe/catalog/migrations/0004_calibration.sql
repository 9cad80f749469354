-- The temperature that turns a choice's scores into confidence: fitted on labelled photos, for one condition and prompt.
-- photos: how many it was fitted on. ece_before, ece_after: expected calibration error, measured on photos held out.
CREATE TABLE calibrations (
    condition_id INTEGER NOT NULL REFERENCES conditions,
    prompt_id INTEGER NOT NULL REFERENCES prompts,
    temperature REAL NOT NULL CHECK (temperature > 0),
    photos INTEGER NOT NULL,
    ece_before REAL NOT NULL,
    ece_after REAL NOT NULL,
    calibrated_at TEXT NOT NULL,
    PRIMARY KEY (condition_id, prompt_id)
) STRICT, WITHOUT ROWID;
