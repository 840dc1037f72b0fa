#!/bin/sh
# Builds the console (web/) into web/dist when npm is there and something has changed.  Without it the server is built with a page that says how to
# get the console: nothing here ends the build.
cd "$(dirname "$0")/../web" 2>/dev/null && [ -f package.json ] || exit 0

left_out() {
	echo "the console is left out: $1"
	exit 0
}

stamp=dist/index.html
if [ -f $stamp ] && [ -z "$(find . -path ./node_modules -prune -o -path ./dist -prune -o -type f -newer $stamp -print -quit)" ]; then
	exit 0
fi
command -v npm >/dev/null || left_out "there is no npm (Debian: apt-get install nodejs npm)"
if [ ! -f node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
	npm ci --no-audit --no-fund --loglevel=error >/dev/null || left_out "npm ci failed"
	touch node_modules/.package-lock.json
fi
said=$(npm run --silent build 2>&1) || {
	echo "$said"
	left_out "npm run build failed"
}
touch $stamp
