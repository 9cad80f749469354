"""What a photo is asked: recipes read from TOML, prompts rendered from them, and the glossary both languages share.

- `loading.load_recipe` reads a recipe, shipped or the user's own; `checking` says what is wrong with one,
  `toml_files` and `toml_lines` in which line.
- `rendering.render` turns a recipe and one photo's metadata into prompts; `placeholders` is the grammar of `{name}`.
- `glossary.load_glossary` reads the car-design vocabulary.

The stage knows nothing of photos, of engines, or of how a description is composed.
"""
