/* os/random.h: randomness from the kernel (getrandom(2)).  Ends the process when the kernel has none: nothing that
 * needs it may go on with less. */
#ifndef OS_RANDOM_H
#define OS_RANDOM_H
#include <stddef.h>
#include <stdint.h>

struct id;
void random_bytes(void *out, size_t len);
void random_id(struct id *ret);
uint64_t random_below(uint64_t limit); /* uniform in [0, limit), limit >= 1 */
#endif
