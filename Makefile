# Every command lives in tasks.py, so that it works without make too: python tasks.py book
PYTHON ?= python3
.PHONY: book serve test lint bench address run
book serve test lint bench address:
	@$(PYTHON) tasks.py $@
run:
	@$(PYTHON) tasks.py run $(CHAPTER)
