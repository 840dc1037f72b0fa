/* os/call.h: for the sources of this folder.  A system call that passes a fault point and answers as the kernel does:
 * its result, or -errno.  EINTR is repeated; an injected fault fails with the given error. */
#ifndef OS_CALL_H
#define OS_CALL_H
#include <errno.h>

#include "base/fault.h"

#define OS_CALL(fault, call)                                                                                                       \
	({                                                                                                                         \
		__typeof__(call) result_;                                                                                          \
		if (fault_hit())                                                                                                   \
			result_ = -(fault);                                                                                        \
		else                                                                                                               \
			while ((result_ = (call)) < 0 && (result_ = -errno) == -EINTR)                                             \
				;                                                                                                  \
		result_;                                                                                                           \
	})
#endif
