-- The best of a choice's scores: to count unsure choices among a million without reading their JSON.
ALTER TABLE answers ADD COLUMN score REAL;
UPDATE answers SET score = (SELECT max(value) FROM json_each(scores)) WHERE scores IS NOT NULL;
