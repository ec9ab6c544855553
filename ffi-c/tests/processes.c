/* Members of clusters in several processes: racing, killed, and forked. */
#define _POSIX_C_SOURCE 200809L
#define _DEFAULT_SOURCE
#include "children.h"
#include "members.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* How the program was called, to start it again as another member. */
static const char *program;

/* What processes that race share. */
typedef struct {
    int arrived;        /* at the present race */
    int tried;          /* how many know how the race went for them */
    int race;           /* the present one */
    int winners;        /* of it */
    int doubles;        /* races with more than one winner */
    int empty;          /* races without one */
    int inside;         /* holders of the contended lock */
    int crowded;        /* how often there was more than one */
    int grants;         /* of the contended lock */
    uint64_t fence;     /* the largest fence that anybody was granted */
    int fences_fell;
    int won[2];
} track;

static track *map_track(int file)
{
    void *memory = mmap(NULL, sizeof(track), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

#define LOAD(place) __atomic_load_n(&(place), __ATOMIC_SEQ_CST)
#define STORE(place, value) __atomic_store_n(&(place), value, __ATOMIC_SEQ_CST)
#define ADD(place, number) __atomic_add_fetch(&(place), number, __ATOMIC_SEQ_CST)

static bool reaches(int *place, int value)
{
    long left;
    for (left = LONG_MS * 20L; LOAD(*place) < value; left--) {
        struct timespec moment = {0, 50000};
        if (left == 0) {
            return false;
        }
        nanosleep(&moment, NULL);
    }
    return true;
}

/* Races for new keys: both try at once and nobody lets go before both know. The process 0 keeps the books. */
static bool run_races(minikv_registry *kv, track *track, int who, int races)
{
    minikv_lock_options *create = minikv_lock_options_new();
    minikv_error *err = NULL;
    int race;
    minikv_lock_options_set_create(create, true);
    for (race = 1; race <= races; race++) {
        minikv_guard *guard = NULL;
        minikv_code code;
        char key[32];
        snprintf(key, sizeof key, "race:%d", race);
        ADD(track->arrived, 1);
        CHECK(reaches(&track->arrived, 2 * race));
        code = minikv_locked(kv, minikv_str(key), create, &guard, &err);
        if (code == MINIKV_OK) {
            ADD(track->winners, 1);
            ADD(track->won[who], 1);
        } else if (code != MINIKV_LOCKED) {
            printf("    race %d: %s\n", race, minikv_error_message(err));
            return false;
        }
        minikv_error_free(err);
        err = NULL;
        ADD(track->tried, 1);
        CHECK(reaches(&track->tried, 2 * race));
        if (guard != NULL) {
            OK(minikv_guard_release(guard, &err));
        }
        minikv_guard_free(guard);
        if (who == 0) {
            int winners = __atomic_exchange_n(&track->winners, 0, __ATOMIC_SEQ_CST);
            track->doubles += winners > 1;
            track->empty += winners == 0;
            STORE(track->race, race);
        }
        CHECK(reaches(&track->race, race));
    }
    minikv_lock_options_free(create);
    return true;
}

/* Contends for one present key, waiting for it in the queue. */
static bool contend(minikv_registry *kv, track *track, int times)
{
    minikv_lock_options *options = minikv_lock_options_new();
    minikv_error *err = NULL;
    minikv_lock_options_set_wait_ms(options, LONG_MS);
    while (times-- > 0) {
        minikv_guard *guard = NULL;
        uint64_t fence;
        OK(minikv_locked(kv, minikv_str("contended"), options, &guard, &err));
        if (ADD(track->inside, 1) != 1) {
            ADD(track->crowded, 1);
        }
        fence = __atomic_exchange_n(&track->fence, minikv_guard_fence(guard), __ATOMIC_SEQ_CST);
        if (fence >= minikv_guard_fence(guard)) {
            ADD(track->fences_fell, 1);
        }
        ADD(track->grants, 1);
        ADD(track->inside, -1);
        OK(minikv_guard_release(guard, &err));
        minikv_guard_free(guard);
    }
    minikv_lock_options_free(options);
    return true;
}

/* Another member in a process of its own, which answers each line with a line. */
typedef struct {
    pid_t id;
    int to;
    FILE *from;
} process;

static bool ask(process *process, char *answer, size_t room, const char *line)
{
    size_t length = strlen(line);
    CHECK(write(process->to, line, length) == (ssize_t)length && write(process->to, "\n", 1) == 1);
    CHECK(fgets(answer, (int)room, process->from) != NULL);
    answer[strcspn(answer, "\n")] = '\0';
    return true;
}

/* Starts this program again as a member, by fork and exec. */
static bool start_process(process *process, const char *cluster, const char *node, const char *peer, int shared)
{
    int in[2], out[2];
    char number[16], answer[64];
    snprintf(number, sizeof number, "%d", shared);
    CHECK(pipe(in) == 0 && pipe(out) == 0);
    fcntl(in[1], F_SETFD, FD_CLOEXEC);
    fcntl(out[0], F_SETFD, FD_CLOEXEC);
    fflush(stdout);
    process->id = fork();
    CHECK(process->id >= 0);
    if (process->id == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        close(in[0]);
        close(out[1]);
        execl(program, program, "member", cluster, node, peer, number, (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    process->to = in[1];
    process->from = fdopen(out[0], "r");
    CHECK(process->from != NULL && fgets(answer, sizeof answer, process->from) != NULL);
    if (strcmp(answer, "ready\n") != 0) {
        printf("    the other process says: %s", answer);
    }
    CHECK(strcmp(answer, "ready\n") == 0);
    return true;
}

/* Waits for the process's end; a closed standard input is what makes it go. */
static bool end_process(process *process, int *status)
{
    close(process->to);
    CHECK(waitpid(process->id, status, 0) == process->id);
    fclose(process->from);
    return true;
}

/* The other process. */
static bool serve(minikv_registry *kv, track *track)
{
    static char line[256];
    minikv_error *err = NULL;
    minikv_guard *held = NULL;
    minikv_lock_options *create = minikv_lock_options_new();
    minikv_lock_options_set_create(create, true);
    printf("ready\n");
    while (fflush(stdout) == 0 && fgets(line, sizeof line, stdin) != NULL) {
        char key[64] = "";
        int number = 0;
        if (sscanf(line, "put %63s %d", key, &number) == 2) {
            OK(minikv_put_int(kv, minikv_str(key), number, NULL, NULL, &err));
            printf("done\n");
        } else if (sscanf(line, "get %63s", key) == 1) {
            printf("%lld\n", (long long)number_at(kv, key));
        } else if (sscanf(line, "hold %63s", key) == 1) {
            OK(minikv_locked(kv, minikv_str(key), create, &held, &err));
            printf("%llu\n", (unsigned long long)minikv_guard_fence(held));
        } else if (sscanf(line, "race %d", &number) == 1) {
            printf(run_races(kv, track, 1, number) ? "raced\n" : "failed\n");
        } else if (sscanf(line, "contend %d", &number) == 1) {
            printf(contend(kv, track, number) ? "contended\n" : "failed\n");
        } else {
            printf("what?\n");
        }
    }
    minikv_lock_options_free(create);
    minikv_guard_free(held);
    return true;
}

static int be_member(char **arguments)
{
    minikv_registry *kv;
    track *track = NULL;
    bool good;
    alarm(600); /* nobody's child for ever */
    if (atoi(arguments[3]) >= 0) {
        track = map_track(atoi(arguments[3]));
    }
    kv = join(arguments[0], arguments[1], arguments[2]);
    if (kv == NULL) {
        return 1;
    }
    good = serve(kv, track);
    end_registry(kv);
    return good ? 0 : 1;
}

static bool processes_share_and_a_killed_one_leaves_its_locks(void)
{
    minikv_error *err = NULL;
    minikv_registry *a = join("processes", "a", NULL);
    minikv_lock_options *wait = minikv_lock_options_new();
    minikv_entry *entry = NULL;
    minikv_guard *guard = NULL;
    minikv_watch *watch = NULL;
    minikv_event *event = NULL;
    process b;
    char endpoint[128], answer[64];
    unsigned long long fence;
    int status = -1;
    minikv_lock_options_set_wait_ms(wait, LONG_MS);
    CHECK(a != NULL && endpoint_of(a, endpoint, sizeof endpoint));
    OK(minikv_put_int(a, minikv_str("early"), 1, NULL, NULL, &err));
    CHECK(start_process(&b, "processes", "b", endpoint, -1));
    CHECK(ask(&b, answer, sizeof answer, "get early") && strcmp(answer, "1") == 0);
    CHECK(ask(&b, answer, sizeof answer, "put late 2") && strcmp(answer, "done") == 0);
    UNTIL(number_at(a, "late") == 2);
    CHECK(is_owned_by(a, "late", "b"));
    CHECK(ask(&b, answer, sizeof answer, "hold mine") && sscanf(answer, "%llu", &fence) == 1);
    UNTIL(minikv_lock(a, minikv_str("mine"), NULL, &entry, NULL) == MINIKV_LOCKED);
    OK(minikv_watch_open(a, NULL, &watch, &err));
    CHECK(kill(b.id, SIGKILL) == 0);
    CHECK(until_event(watch, MINIKV_EVENT_MEMBER, "b", &event));
    CHECK(minikv_event_state(event) == MINIKV_MEMBER_DOWN);
    minikv_event_free(event);
    CHECK(until_event(watch, MINIKV_EVENT_OWNER, "b", &event));
    CHECK(is_text(minikv_event_owner(event), "a") && minikv_event_state(event) == MINIKV_MEMBER_NONE);
    minikv_event_free(event);
    CHECK(is_owned_by(a, "late", "a"));
    OK(minikv_locked(a, minikv_str("mine"), wait, &guard, &err));
    CHECK(minikv_guard_fence(guard) > fence);
    minikv_guard_free(guard);
    CHECK(end_process(&b, &status) && WIFSIGNALED(status));
    /* The same name again, once more in a process of its own, which ends well. */
    CHECK(start_process(&b, "processes", "b", endpoint, -1));
    CHECK(ask(&b, answer, sizeof answer, "get late") && strcmp(answer, "2") == 0);
    UNTIL(is_owned_by(a, "late", "b"));
    CHECK(end_process(&b, &status) && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    UNTIL(is_owned_by(a, "late", "a"));
    minikv_watch_free(watch);
    minikv_lock_options_free(wait);
    end_registry(a);
    return true;
}

typedef struct {
    process *process;
    const char *line;
    char answer[64];
    bool good;
} question;

static void *ask_aside(void *argument)
{
    question *question = argument;
    question->good = ask(question->process, question->answer, sizeof question->answer, question->line);
    return NULL;
}

static bool processes_that_race_for_locks_are_never_granted_one_twice(void)
{
    minikv_registry *a = join("races", "a", NULL);
    int races = setting("RACES", 500), file, status = -1;
    char endpoint[128], path[] = "/tmp/minikv-test-XXXXXX", line[32], answer[64];
    process b;
    question question;
    pthread_t aside;
    track *track;
    file = mkstemp(path);
    CHECK(file >= 0 && unlink(path) == 0 && ftruncate(file, sizeof *track) == 0);
    track = map_track(file);
    CHECK(track != NULL && a != NULL && endpoint_of(a, endpoint, sizeof endpoint));
    CHECK(start_process(&b, "races", "b", endpoint, file));
    question.process = &b;
    question.line = line;
    snprintf(line, sizeof line, "race %d", races);
    CHECK(pthread_create(&aside, NULL, ask_aside, &question) == 0);
    CHECK(run_races(a, track, 0, races));
    CHECK(pthread_join(aside, NULL) == 0 && question.good && strcmp(question.answer, "raced") == 0);
    CHECK(minikv_put_int(a, minikv_str("contended"), 0, NULL, NULL, NULL) == MINIKV_OK);
    do {
        CHECK(ask(&b, answer, sizeof answer, "get contended"));
    } while (strcmp(answer, "0") != 0);
    snprintf(line, sizeof line, "contend %d", races / 2);
    CHECK(pthread_create(&aside, NULL, ask_aside, &question) == 0);
    CHECK(contend(a, track, races / 2));
    CHECK(pthread_join(aside, NULL) == 0 && question.good && strcmp(question.answer, "contended") == 0);
    printf("       %d races: %d and %d won, %d by both, %d by nobody; %d grants of one lock, %d at the same time\n", races,
           track->won[0], track->won[1], track->doubles, track->empty, track->grants, track->crowded);
    CHECK(track->doubles == 0 && track->empty == 0 && track->won[0] + track->won[1] == races);
    CHECK(track->crowded == 0 && track->fences_fell == 0 && track->grants == races / 2 * 2);
    CHECK(end_process(&b, &status) && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    munmap(track, sizeof *track);
    close(file);
    end_registry(a);
    return true;
}

/* What a member has opened before its process forks. */
typedef struct {
    minikv_registry *kv;
    minikv_watch *watch;
    minikv_guard *guard;
    minikv_pending_sync *pending;
    minikv_pending_guard *waiting;
    minikv_member_list *members;
} parent;

/* In the child: 0 if all is well, else the number of what is not. */
static int in_child(void *given)
{
    parent *parent = given;
    minikv_error *err = NULL;
    minikv_options *options = member_options("forks", "child", NULL);
    minikv_registry *own = NULL;
    minikv_entry *entry = NULL;
    minikv_event *event = NULL;
    minikv_guard *guard = NULL;
    minikv_member_list *members = NULL;
    minikv_string_list *endpoints = NULL;
    minikv_pending_sync *pending = NULL;
    minikv_stats stats;
    bool ready;
    alarm(60);
    if (minikv_get(parent->kv, minikv_str("k"), &entry, NULL) != MINIKV_FORKED) return 1;
    if (minikv_put_int(parent->kv, minikv_str("k"), 1, NULL, NULL, NULL) != MINIKV_FORKED) return 2;
    if (minikv_lock(parent->kv, minikv_str("k"), NULL, &entry, NULL) != MINIKV_FORKED) return 3;
    if (minikv_locked(parent->kv, minikv_str("k"), NULL, &guard, NULL) != MINIKV_FORKED) return 4;
    if (minikv_ready(parent->kv, &ready, NULL) != MINIKV_FORKED) return 5;
    if (minikv_wait_synced(parent->kv, MINIKV_FOREVER, NULL) != MINIKV_FORKED) return 6;
    if (minikv_sync_start(parent->kv, &pending, NULL) != MINIKV_FORKED) return 7;
    if (minikv_pending_sync_wait(parent->pending, MINIKV_FOREVER, NULL) != MINIKV_FORKED) return 8;
    if (minikv_members(parent->kv, &members, NULL) != MINIKV_FORKED) return 9;
    if (minikv_endpoints(parent->kv, &endpoints, NULL) != MINIKV_FORKED) return 10;
    if (minikv_registry_stats(parent->kv, &stats, sizeof stats, NULL) != MINIKV_FORKED) return 11;
    if (minikv_watch_next(parent->watch, MINIKV_FOREVER, &event, NULL) != MINIKV_FORKED) return 12;
    if (minikv_guard_put_int(parent->guard, 1, NULL, NULL, NULL) != MINIKV_FORKED) return 13;
    if (minikv_pending_guard_wait(parent->waiting, MINIKV_FOREVER, &guard, NULL) != MINIKV_FORKED) return 14;
    if (minikv_registry_check(parent->kv, NULL) != MINIKV_FORKED) return 15;
    if (minikv_member_list_count(parent->members) != 2) return 16;
    minikv_watch_free(parent->watch);
    minikv_guard_free(parent->guard);
    minikv_pending_guard_free(parent->waiting);
    minikv_pending_sync_free(parent->pending);
    minikv_member_list_free(parent->members);
    minikv_registry_stop(parent->kv);
    minikv_registry_free(parent->kv);
    /* A member it cannot be: the threads of the engine are gone. A registry of its own it can have. */
    if (minikv_registry_start(options, &own, &err) != MINIKV_FORKED) return 17;
    if (strstr(minikv_error_message(err), "fork") == NULL) return 18;
    minikv_error_free(err);
    minikv_options_free(options);
    own = start_registry(false);
    if (minikv_put_int(own, minikv_str("k"), 2, NULL, NULL, NULL) != MINIKV_OK || number_at(own, "k") != 2) return 19;
    end_registry(own);
    return 0;
}

static bool a_forked_child_is_told_and_the_cluster_does_not_notice(void)
{
    minikv_error *err = NULL;
    minikv_registry *b;
    minikv_lock_options *wait = minikv_lock_options_new();
    parent parent;
    char endpoint[128];
    int round;
    minikv_lock_options_set_wait_ms(wait, MINIKV_FOREVER);
    parent.kv = join("forks", "a", NULL);
    CHECK(parent.kv != NULL && endpoint_of(parent.kv, endpoint, sizeof endpoint));
    b = join("forks", "b", endpoint);
    CHECK(b != NULL);
    OK(minikv_put_int(parent.kv, minikv_str("k"), 5, NULL, NULL, &err));
    OK(minikv_watch_open(parent.kv, NULL, &parent.watch, &err));
    OK(minikv_locked(parent.kv, minikv_str("k"), NULL, &parent.guard, &err));
    OK(minikv_locked_start(parent.kv, minikv_str("k"), wait, &parent.waiting, &err));
    OK(minikv_sync_start(parent.kv, &parent.pending, &err));
    OK(minikv_members(parent.kv, &parent.members, &err));
    for (round = 0; round < 10; round++) {
        int told = asked_in_child(in_child, &parent);
        if (told != 0) {
            printf("    child %d: step %d is not as it should be (255: it died)\n", round, told);
            CHECK(told == 0);
        }
    }
    OK(minikv_guard_check(parent.guard, &err));
    OK(minikv_guard_put_int(parent.guard, 6, NULL, NULL, &err));
    UNTIL(number_at(b, "k") == 6);
    CHECK(state_of(b, "a") == MINIKV_MEMBER_LIVE && state_of(b, "child") == MINIKV_MEMBER_NONE);
    minikv_pending_guard_free(parent.waiting);
    minikv_guard_free(parent.guard);
    minikv_pending_sync_free(parent.pending);
    minikv_watch_free(parent.watch);
    minikv_member_list_free(parent.members);
    minikv_lock_options_free(wait);
    end_registry(b);
    end_registry(parent.kv);
    return true;
}

int main(int count, char **arguments)
{
    static const test tests[] = {
        TEST(processes_share_and_a_killed_one_leaves_its_locks),
        TEST(processes_that_race_for_locks_are_never_granted_one_twice),
        TEST(a_forked_child_is_told_and_the_cluster_does_not_notice),
    };
    if (count == 6 && strcmp(arguments[1], "member") == 0) {
        return be_member(arguments + 2);
    }
    program = arguments[0];
    signal(SIGPIPE, SIG_IGN);
    return run_tests(tests, sizeof tests / sizeof *tests);
}
