// A service that says when it began: appends "pid nanoseconds" (CLOCK_MONOTONIC) to the file argv[1], then sleeps.
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

int main(int count, char **arguments) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int file = count > 1 ? open(arguments[1], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644) : -1;
    if (file < 0) return 1;
    char line[64];
    int length = snprintf(line, sizeof line, "%d %lld\n", getpid(), now.tv_sec * 1000000000LL + now.tv_nsec);
    if (write(file, line, length) != length) return 1;
    for (;;) pause();
}
