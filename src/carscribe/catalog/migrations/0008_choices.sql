-- All that flags are made of, beside each other: choices are a few of the answers, and their texts are short.
CREATE INDEX answers_of_choices ON answers (photo_id, condition_id, prompt_id, run_id, score, mass, text)
    WHERE scores IS NOT NULL;
