/* fleet/query.h: which devices are meant: `tag:web and not os:alpine`.  The console has the same language in web/src/query.ts; both pass
 * tests/vectors/query.json.
 *
 *   query = or            all devices when it is empty
 *   or    = and { "or" and }
 *   and   = not { [ "and" ] not }
 *   not   = { "not" | "-" } ( "(" or ")" | term )
 *   term  = [ field ":" ] value
 *   value = word | '"' anything but '"' '"'
 * A word ends at a blank, a parenthesis or a quote.  Upper and lower case (of ASCII) are the same everywhere.
 *
 * | field | a device has it when the value |
 * |---|---|
 * | none | is part of its name, full name, group, operating system or one of its tags, or begins its id |
 * | name | is part of its name or full name |
 * | os, version | is part of it |
 * | group, arch | is it; `group:""`: it is in none |
 * | tag | is one of its tags (`not tag:*`: it has none) |
 * | id, parent | begins it; the parent is an id, or "server" |
 * | online | is `yes` and it is, or `no` and it is not |
 * | seen | is `<` or `>` and a time as `90s`, `15m`, `2h`, `7d`, `4w` (9 digits at most), and it was last seen less, or more, than that ago;
 *          a device that is online is seen now, one that never was, longer ago than anything |
 * In a word `*` stands for any characters, and the whole has to fit: `name:web*`.  Between quotes it is itself. */
#ifndef FLEET_QUERY_H
#define FLEET_QUERY_H
#include <stdbool.h>

#include "fleet/fleet.h"

#define FLEET_QUERY_MAX   1024 /* bytes */
#define FLEET_QUERY_TERMS 64
#define FLEET_QUERY_DEPTH 16 /* of parentheses */

/* Plain data, which may be copied; of interest to query.c only. */
struct fleet_query {
	char text[FLEET_QUERY_MAX + 1]; /* in lower case */
	struct fleet_query_term {
		uint8_t field, match;
		uint16_t start, len; /* of its value in text */
		int64_t seconds;
	} terms[FLEET_QUERY_TERMS];
	struct fleet_query_node {
		uint8_t kind, left, right; /* nodes; of a term: left is its number */
		bool negated;
	} nodes[2 * FLEET_QUERY_TERMS];
	uint8_t n_terms, n_nodes;
	bool presence; /* asks whether or since when devices are online */
};

struct fleet_query_error {
	unsigned column; /* in characters, from 1 */
	const char *what;
};
/* -E_QUERY with *reterr. */
int fleet_query_parse(struct str text, struct fleet_query *ret, struct fleet_query_error *reterr);
/* online and now matter only when the query has `presence`. */
bool fleet_query_matches(const struct fleet_query *query, const struct device *device, bool online, int64_t now);
#endif
