#define _GNU_SOURCE
#include "supd_system.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

int supd_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }

int supd_set_name(const char *name) { return prctl(PR_SET_NAME, name, 0, 0, 0); }

int supd_become_subreaper(void) { return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); }
