/* os/ask.h: questions to the person at the terminal.  The question goes to standard error, the answer comes from standard input; it waits.
 * Not thread-safe: signals are caught meanwhile. */
#ifndef OS_ASK_H
#define OS_ASK_H
#include <stdbool.h>
#include <stddef.h>

bool ask_possible(void); /* both are a terminal */
/* One line without its end.  hidden: what is typed is not shown; the terminal is as before when it returns, also by a signal that would
 * end the process: then -E_CANCELLED, as for an end of file.  -E_TOO_LONG: the line is read and thrown away.  On errors out is wiped. */
int ask_line(const char *question, bool hidden, char *out, size_t size);
#endif
