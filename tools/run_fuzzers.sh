#!/bin/sh
# Runs each fuzz target of a build folder for some seconds, from its seed corpus.  Findings are kept in the build folder.
build=$1 seconds=$2 failed=0
for target in "$build"/tests/fuzz/fuzz_*; do
	[ -x "$target" ] && [ -f "$target" ] || continue
	name=${target##*/fuzz_}
	mkdir -p "$build/corpus/$name"
	echo "$name: $seconds s"
	"$target" -max_total_time="$seconds" -max_len=20000 -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="$build/corpus/$name." \
		"$build/corpus/$name" "tests/fuzz/corpus/$name" >"$build/corpus/$name.log" 2>&1 ||
		{ tail -n 20 "$build/corpus/$name.log"; failed=1; }
	grep -h 'stat::number_of_executed_units' "$build/corpus/$name.log"
done
exit $failed
