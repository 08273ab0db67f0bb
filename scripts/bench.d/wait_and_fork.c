// The least a supervisor can do: fork, execute argv[1…], wait, again. SIGTERM ends it and the child.
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile pid_t child;

static void finish(int number) {
    (void)number;
    if (child > 0) kill(child, SIGKILL);
    _exit(0);
}

int main(int count, char **arguments) {
    if (count < 2) return 2;
    signal(SIGTERM, finish);
    for (;;) {
        child = fork();
        if (child == 0) {
            signal(SIGTERM, SIG_DFL);
            execv(arguments[1], arguments + 1);
            _exit(127);
        }
        if (child < 0) return 1;
        while (waitpid(child, NULL, 0) < 0) {}
    }
}
