-- Where the adapter of a run lay ("" for none), to go on with; what tells it from others is in conditions.
ALTER TABLE runs ADD COLUMN adapter TEXT NOT NULL DEFAULT '';
