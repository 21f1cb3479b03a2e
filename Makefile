# Each target is one line that calls scripts/; `make` alone prints this list. Pick an interpreter with PYTHON=python3.13.
.PHONY: help serve test test-release pictures check demo bench bench-peers bench-invalidation bench-lookup bench-pages bench-policies bench-watch bench-semantic calibration-set planted-prompts train-verifier soak-watch build lock docs
.DEFAULT_GOAL := help

help: ## print this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' Makefile | expand -t 20

serve: ## install and start the server on http://127.0.0.1:8787
	@scripts/serve

test: ## run the test suite
	@scripts/test

test-release: ## run it with what takes long, and with higher numbers
	@scripts/test-release

pictures: ## keep pictures of every page, wide and narrow, light and dark, in build/screenshots
	@scripts/pictures

check: ## lint, format, types, import layers, migrations, generated pages, rules of the tree
	@scripts/check

demo: ## start the server with a bundled fake provider and show what the cache saves
	@scripts/demo

bench: ## measure the hot path against an empty server
	@scripts/bench

bench-peers: ## measure side by side with other gateways
	@scripts/bench-peers

bench-invalidation: ## measure invalidations by pattern and tag with a million entries
	@scripts/bench-invalidation

bench-lookup: ## measure looking for near questions: embedding, and searching 10,000 and 100,000 of them
	@scripts/bench-lookup

bench-pages: ## measure every page with ten million usage events, on SQLite and PostgreSQL
	@scripts/bench-pages

bench-policies: ## measure hits without and with policies, their patterns, and a dry run
	@scripts/bench-policies

bench-watch: ## measure how late 10,000 watched sources are checked, for ten minutes
	@scripts/bench-watch

bench-semantic: ## measure hits and false hits of the semantic tier, beside a plain cosine
	@scripts/bench-semantic

calibration-set: ## draw the texts by which other embedders are calibrated, and measure them
	@scripts/calibration-set

planted-prompts: ## search for planted prompts that the verifier would be deceived by, for it to learn
	@scripts/planted-prompts

train-verifier: ## train the verifier of the semantic tier, and write its model file and card
	@scripts/train-verifier

soak-watch: ## change 200 watched pages under load for an hour, with a fault every 30 s (MINUTES=10: less), and count answers from before a change
	@scripts/soak-watch

build: ## build the wheel and the source archive
	@scripts/build

lock: ## recompile constraints/ (hashed, nothing younger than 7 days)
	@scripts/lock

docs: ## write the generated reference pages
	@scripts/docs
