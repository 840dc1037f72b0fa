#!/bin/sh
# run.sh BUILD [NAME...]: runs the benchmarks named, or all of them.  One JSON line a result, see README.md.
set -eu
build=${1:?usage: bench/run.sh BUILD [NAME...]}
shift
[ $# -gt 0 ] || set -- start idle tunnel connect udp terminal giop login web console agents children live relay rpc probe spool envelope
ninja -C "$build" all bench >/dev/null
folder=$(dirname "$0")
for name; do
	if [ "$name" = rpc ] || [ "$name" = probe ] || [ "$name" = spool ] || [ "$name" = envelope ]; then
		"$build/bench/${name}_bench"
	elif [ "$name" = live ]; then
		"$build/bench/live_bench"
		/usr/bin/python3 -B "$folder/live.py" "$build"
	elif [ "$name" = relay ]; then
		"$build/bench/relay_bench" "$build/bench/limits/hop"
	else
		/usr/bin/python3 -B "$folder/$name.py" "$build"
	fi
done
