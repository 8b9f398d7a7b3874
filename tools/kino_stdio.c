/* The three descriptors that a program is given, and the signals that end it. Whoever starts kino may have closed some of the three,
 * has sent stdout to a full disk or to a pipe that is read no more, or has ignored a signal: none of it may damage a result, and
 * none of it is lost. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/kino_cli.h"

volatile sig_atomic_t kino_interrupted;
static int lost;                       /* errno of the first write to stdout that failed, which stdio does not keep */

/* A closed one would become the next file that is opened, the output say. It is taken the wrong way round: using it stays an error. */
void kino_stdio_open(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            _exit(KG_FAILED);
}

/* A second one ends at once. SIGHUP comes twice without anybody insisting: from the terminal and from its shell. */
static void on_signal(int number)
{
    if (!kino_interrupted)
        kino_interrupted = 1;
    else if (number != SIGHUP)
        _exit(KG_CANCELLED);
}

/* What was ignored stays ignored: SIGHUP below nohup, SIGINT behind a shell's "&". */
void kino_signals(void)
{
    static const int ends[] = {SIGHUP, SIGINT, SIGTERM};
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);          /* a file size limit is a write error like any other */
    for (size_t i = 0; i < sizeof ends / sizeof *ends; ++i) {
        struct sigaction was, a = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
        if (!sigaction(ends[i], NULL, &was) && was.sa_handler != SIG_IGN)
            sigaction(ends[i], &a, NULL);
    }
}

int kino_stdout_flush(void)
{
    errno = 0;
    int bad = fflush(stdout) || ferror(stdout);
    if (bad && !lost && !errno && write(STDOUT_FILENO, "\n", 1) >= 0)      /* stdio has forgotten why: ask again */
        errno = EIO;
    if (bad && !lost)
        lost = errno;
    return lost;
}

/* At the end of a program that went well: did all that it said arrive? A reader that left early (| head) asked for no words. */
kg_status kino_stdout_end(const kino_options *o)
{
    int e = kino_stdout_flush();
    if (!e)
        return KG_OK;
    int told = o->json && o->command && !strcmp(o->command, "run") && !o->help;
    if (e == EPIPE && !told)
        return KG_FAILED;
    kg_fail(KG_FAILED, "cannot write to stdout: %s", strerror(e));
    if (told)
        kg_hint("the run itself went well, and what it wrote is there");
    return KG_FAILED;
}

int kino_steerable(int fd)
{
    const char *term = getenv("TERM"), *plain = getenv("NO_COLOR");
    return isatty(fd) && term && *term && strcmp(term, "dumb") && !(plain && *plain);
}
