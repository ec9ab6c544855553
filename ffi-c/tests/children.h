/* A forked child that looks at what its parent has, and says what it found. */
#ifndef MINIKV_TEST_CHILDREN_H
#define MINIKV_TEST_CHILDREN_H

#include "test.h"

#include <signal.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

/* The step at which the child found something wrong, 0 if all was well, 255 if it died; -1: it could not be asked. */
static int asked_in_child(int (*look)(void *), void *at) {
    unsigned char told = 255;
    int status = -1, ends[2];
    pid_t child;
    if (pipe(ends) != 0) return -1;
    child = fork();
    if (child == 0) {
        told = (unsigned char)look(at);
        if (write(ends[1], &told, 1) == 1) {
            /* Not by an exit: what it has inherited and cannot free would be taken for leaks. */
            kill(getpid(), SIGKILL);
        }
        _exit(1);
    }
    close(ends[1]);
    if (child < 0 || read(ends[0], &told, 1) != 1) told = 255;
    close(ends[0]);
    return child > 0 && waitpid(child, &status, 0) == child ? told : -1;
}

#endif
