.PHONY: bench
bench: venv ## throughput, costs, canonical forms: minutes
	@$(BIN)/python -m bench.throughput
	@$(BIN)/python -m bench.costs
	@$(BIN)/python -m bench.minima

.PHONY: bench-faults
bench-faults: venv ## how long each engine needs for each seeded fault: hours
	@$(BIN)/python -m bench.faults run

.PHONY: bench-history
bench-history: compile ## how long each engine needs for each bug of the catalogue: hours
	@$(BIN)/python -m bench.history run
	@$(BIN)/python -m bench.history run --no-corpus --engines atheris,random,coverage,stock --limit 2
	@$(BIN)/python -m bench.history_page

.PHONY: bench-compiled
bench-compiled: compile ## whether the compiled models do the same as the interpreted ones: a minute
	@$(BIN)/python -m bench.compiled

QUIET := linux linux-5.19 v3 minimal always
.PHONY: bench-quiet
bench-quiet: venv ## ten minutes against each unbroken policy; fails at the first finding
	@for policy in $(QUIET); do $(BIN)/shootdown fuzz --policy $$policy --for 10m --workers 2 --db quiet.db --quiet || exit $$?; done

.PHONY: prove-latr
prove-latr: compile ## explore lazy shootdown beyond what the tests do: one page, five operations, batches of 1 and 2
	@for batch in 1 2; do \
	    $(BIN)/shootdown prove --policy latr --cpus 2 --pages 1 --ops 5 \
	        --operations read,write,dontneed --batch $$batch --db $(DB) || exit $$?; \
	done

.PHONY: bench-prove
bench-prove: compile ## worlds a second, what the reductions save, and the smallest scope beside Spin: a minute (needs spin, gcc)
	@$(BIN)/python -m bench.prove
	@echo; $(BIN)/python -m bench.spin

.PHONY: bench-mutants
bench-mutants: venv ## what random inputs show of 240 automatic changes of the models: an hour and more
	@$(BIN)/python -m bench.mutants run
	@$(BIN)/python -m bench.mutants check
	@$(BIN)/python -m bench.mutants report

.PHONY: bench-kernel-bugs
bench-kernel-bugs: compile ## whether a campaign finds each bug that is put back into a kernel's own text: minutes (needs a tree)
	@$(BIN)/python -m bench.kernel_bugs --out bench/results/kernel-bugs.jsonl

.PHONY: bench-qemu
bench-qemu: venv ## ten million events and whole scenarios beside QEMU's MMU, and whether broken rules are found: a quarter of an hour
	@$(BIN)/python -m bench.conform_qemu
