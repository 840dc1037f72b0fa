/* priv/monitor.h: for the tests of this folder. */
#ifndef PRIV_MONITOR_H
#define PRIV_MONITOR_H
#include <stdint.h>

extern uint64_t monitor_heartbeat_ms; /* 5,000 */
#endif
