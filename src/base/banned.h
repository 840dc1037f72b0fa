/* base/banned.h: calls that this code never makes; force-included by the build. */
#ifndef BASE_BANNED_H
#define BASE_BANNED_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#undef alloca
#undef strcpy
#undef strcat
#undef sprintf
#undef vsprintf
#undef strtok
#pragma GCC poison strcpy strcat sprintf vsprintf strtok atoi atol system popen alloca gets
#endif
