/* base/id.h: 128-bit random identifiers of meshes, nodes, users, keys, orders.  As text: 32 lower-case hex digits. */
#ifndef BASE_ID_H
#define BASE_ID_H
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

#define ID_TEXT_SIZE 33 /* with the NUL */

struct id {
	uint8_t bytes[16];
};

bool id_equal(const struct id *a, const struct id *b);
bool id_is_zero(const struct id *id);
void id_format(const struct id *id, char text[ID_TEXT_SIZE]);
/* Exactly 32 lower-case hex digits.  Returns 0, or -E_ID. */
int id_parse(struct str text, struct id *ret);
#endif
