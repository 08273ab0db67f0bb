// Files in memory: Swift's Glibc does not import memfd_create.
#ifndef SUPD_MEMORY_FILE_H
#define SUPD_MEMORY_FILE_H

/// memfd_create(2), close-on-exec, sealable. Returns the descriptor, or -1 with errno.
int supd_memory_file_create(const char *name);

/// Whether fcntl(F_GET_SEALS) works, as it does for files of memfd_create and tmpfs alone. Returns 0, or -1 with errno.
int supd_memory_file_check(int descriptor);

#endif
