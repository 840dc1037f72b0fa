#include "cli/cli.h"

enum { WORD_MAX = 32 };

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* Letters to insert, delete, change, or swap with their neighbour (optimal string alignment distance). */
static unsigned distance(const char *a, const char *b)
{
	size_t a_len = strlen(a), b_len = strlen(b);
	unsigned rows[3][WORD_MAX + 1];
	if (a_len > WORD_MAX || b_len > WORD_MAX)
		return WORD_MAX;
	for (size_t i = 0; i <= a_len; i++) {
		unsigned *row = rows[i % 3];
		const unsigned *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];
		row[0] = (unsigned)i;
		for (size_t j = 1; j <= b_len; j++) {
			if (i == 0) {
				row[j] = (unsigned)j;
				continue;
			}
			row[j] = least(above[j - 1] + (a[i - 1] != b[j - 1]), least(above[j], row[j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = least(row[j], above2[j - 2] + 1);
		}
	}
	return rows[a_len % 3][b_len];
}

void cli_guess(struct cli_guess *guess, const char *candidate)
{
	size_t len = strlen(guess->word);
	bool beginning = len > 1 && strncmp(candidate, guess->word, len) == 0;
	unsigned found = beginning ? 1 : distance(guess->word, candidate);
	if (found > (len + 1) / 3 || (guess->best && found >= guess->distance))
		return;
	guess->best = candidate;
	guess->distance = found;
}

const char *cli_command_nearest(const char *name)
{
	struct cli_guess guess = { name, NULL, 0 };
	for (const struct cli_command *const *row = cli_commands, *command; (command = *row); row++)
		cli_guess(&guess, command->name);
	return guess.best;
}
