/* web/task_text.h: what a command wrote last, as text for people. */
#ifndef WEB_TASK_TEXT_H
#define WEB_TASK_TEXT_H
#include "base/str.h"

#define TASK_TAIL ((size_t)4096) /* bytes of output that are kept */

/* Without terminal sequences and carriage returns, cleaned (base/utf8.h) but for line feeds and tabs; when that is too long its end. size at least 8.
 * Of a tail longer than TASK_TAIL only the end is looked at. */
void task_text(struct str tail, char *out, size_t size);
#endif
