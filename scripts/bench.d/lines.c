// Writes argv[1] numbered lines of argv[2] bytes (newline included) to standard output, as stdio writes to a pipe. With
// argv[3] it pauses that many microseconds after each line and writes each at once; "forever" sleeps at the end.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int count, char **arguments) {
    if (count < 3) return 2;
    long lines = atol(arguments[1]), size = atol(arguments[2]), pause_time = count > 3 ? atol(arguments[3]) : 0;
    if (size < 11 || size > 65536) return 2;
    char *line = malloc(size + 1);
    memset(line, 'x', size);
    line[size - 1] = '\n';
    if (pause_time) setvbuf(stdout, NULL, _IONBF, 0);
    for (long number = 1; number <= lines; number++) {
        char digits[32];
        snprintf(digits, sizeof digits, "%09ld ", number);
        memcpy(line, digits, 10);
        if (fwrite(line, 1, size, stdout) != (size_t)size) return 1;
        if (pause_time) usleep(pause_time);
    }
    fflush(stdout);
    if (count > 4) for (;;) pause();
    return 0;
}
