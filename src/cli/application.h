/* cli/application.h: programs that `murmesh map --open` starts: the known ones of seed 003, and those in $XDG_CONFIG_HOME/murmesh/applications (else
 * below ~/.config), one a line, which come first:
 *
 *   NAME = PROGRAM ARGUMENT...      # %L the address, %P the port, %N the device, %% a percent sign; words with blanks in double quotes
 *
 * No shell reads that.  Lines that are empty or begin with # do not count.  Names are those of maps, in any case. */
#ifndef CLI_APPLICATION_H
#define CLI_APPLICATION_H
#include "cli/mapping.h"

/* Starts the program of a map.  Returns the exit code (why not is printed); CLI_OK also for a map without an application. */
int application_open(const struct mapping *mapping);
#endif
