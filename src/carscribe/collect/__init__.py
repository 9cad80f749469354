"""Names, kinds and photographs from a website that is described in TOML: `carscribe collect`.

- `site.load_site` reads the description; `selecting` is its CSS and XPath.
- `reading.read_page` makes cars and links of one page, with `pictures` (srcset, lazy images), `structured` (JSON-LD,
  Open Graph), `charset` and `refusals` (noai). None of them fetches anything.
- `sitemaps.read_sitemap` makes pages and further sitemaps of a sitemap, an index or a robots.txt.
- `journal.Journal` is what is known of every address, in SQLite: the queue, what was kept, what was refused and why.
- `crawling` is Scrapy: a process of its own, one a crawl, started and listened to by `running`, since Twisted's reactor
  cannot be started twice in a process. `fetching` is its scheduler and its patience, `storing` what it keeps.
- `writing` makes cars.json and the report of the journal.

A tool above the stages: it uses `recipes` to tell lines of TOML, and `photos` to tell pictures from what is none.
"""

from carscribe.collect.running import collect, try_site

__all__ = ["collect", "try_site"]
