/* route/crc32c.h: CRC-32C (Castagnoli; RFC 3720 section 12.1): 0xe3069283 of "123456789". */
#ifndef ROUTE_CRC32C_H
#define ROUTE_CRC32C_H
#include <stddef.h>
#include <stdint.h>

/* Of bytes behind those whose sum is crc; 0 at first. */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t len);
uint32_t crc32c_by_tables(uint32_t crc, const void *bytes, size_t len); /* where the processor has no instruction for it */
#endif
