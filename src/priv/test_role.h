/* priv/test_role.h: the roles that the monitor's test starts.  Each does what it is told by priv_monitor_tell() and answers with reports. */
#ifndef PRIV_TEST_ROLE_H
#define PRIV_TEST_ROLE_H
#include "priv/priv.h"

extern const struct priv_program test_roles;
#endif
