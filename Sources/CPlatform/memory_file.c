#define _GNU_SOURCE
#include "supd_memory_file.h"

#include <fcntl.h>
#include <sys/mman.h>

int supd_memory_file_create(const char *name) { return memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING); }

int supd_memory_file_check(int descriptor) { return fcntl(descriptor, F_GET_SEALS) < 0 ? -1 : 0; }
