#include "conf/suggest.h"

#define EDITS_MAX 2
#define WORD_MAX  64

static unsigned min2(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* Letters to insert, remove or replace (Levenshtein), row by row. */
static unsigned edits(struct str a, struct str b)
{
	unsigned row[WORD_MAX + 1];
	for (unsigned j = 0; j <= b.len; j++)
		row[j] = j;
	for (unsigned i = 1; i <= a.len; i++) {
		unsigned diagonal = row[0];
		row[0] = i;
		for (unsigned j = 1; j <= b.len; j++) {
			unsigned replaced = diagonal + (lower(a.ptr[i - 1]) != lower(b.ptr[j - 1]));
			diagonal = row[j];
			row[j] = min2(replaced, min2(row[j], row[j - 1]) + 1);
		}
	}
	return row[b.len];
}

void suggest(struct suggestion *suggestion, const char *candidate)
{
	struct str name = str_from(candidate);
	if (name.len > WORD_MAX || suggestion->word.len > WORD_MAX)
		return;
	unsigned n = edits(suggestion->word, name);
	if (n > EDITS_MAX || n >= name.len || (suggestion->nearest && n >= suggestion->edits))
		return;
	suggestion->nearest = candidate;
	suggestion->edits = n;
}
