// Preloaded into supd by LD_PRELOAD: its balancer, which the keeper starts by executing its own image under another name,
// becomes one under callgrind. SUPD_UNDER_CALLGRIND is a folder with a link to the image under that name, where the counts
// go, and two FIFOs: a byte in "ask" has the counts written and set to zero, which a byte in "done" says.
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <valgrind/callgrind.h>

// Neither vgdb, whose ptrace(2) hangs at Dispatch's main thread, nor a signal, which would interrupt a wait.
static void *dump(void *folder) {
    char path[4096], byte;
    snprintf(path, sizeof path, "%s/ask", (char *)folder);
    int ask = open(path, O_RDWR | O_CLOEXEC);
    snprintf(path, sizeof path, "%s/done", (char *)folder);
    int done = open(path, O_RDWR | O_CLOEXEC);
    while (read(ask, &byte, 1) == 1) {
        CALLGRIND_DUMP_STATS;
        if (write(done, &byte, 1) != 1) break;
    }
    return NULL;
}

__attribute__((constructor)) static void begin(int count, char **arguments) {
    static char folder[2048], counts[4096];
    const char *given = getenv("SUPD_UNDER_CALLGRIND");
    pthread_t thread;
    if (given == NULL || count < 1 || strcmp(arguments[0], "supd: balancer") != 0) return;
    if (RUNNING_ON_VALGRIND) {
        snprintf(folder, sizeof folder, "%s", given);
        if (pthread_create(&thread, NULL, dump, folder) != 0) _exit(1);
        return;
    }
    snprintf(counts, sizeof counts, "--callgrind-out-file=%s/counts", given);
    // Valgrind looks for a name without a slash there, and leaves it as it is: the program knows its role by it.
    setenv("PATH", given, 1);
    execl("/usr/bin/valgrind", "valgrind", "--tool=callgrind", "--fair-sched=try", "--vgdb=no", counts, arguments[0],
        (char *)NULL);
    perror("valgrind");
    _exit(1);
}
