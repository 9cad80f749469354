-- The prompts that a photo has answers to under a condition: their ids in order, with commas between them. Written with
-- the answers, so that what is missing of a million photos is known without counting ten million answers.
CREATE TABLE answered (
    photo_id INTEGER NOT NULL REFERENCES photos,
    condition_id INTEGER NOT NULL REFERENCES conditions,
    prompts TEXT NOT NULL,
    PRIMARY KEY (photo_id, condition_id)
) STRICT, WITHOUT ROWID;
INSERT INTO answered
    SELECT photo_id, condition_id, group_concat(DISTINCT prompt_id) FROM answers GROUP BY photo_id, condition_id;
