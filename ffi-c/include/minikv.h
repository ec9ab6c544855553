/*
 * minikv: a key-value registry that lives inside your program. C99 and C++17.
 *
 * Generated from ffi-c/src. Link with -lminikv (pkg-config: minikv).
 *
 * The conventions, for all functions:
 *
 * Errors. A call that can fail gives a minikv_code, MINIKV_OK if all went well. Its last parameter `err` may be NULL
 *   if you are not interested; otherwise set `*err` to NULL before: it is set only on failure, and you free it with
 *   minikv_error_free. Besides the codes that a function names, all that take a registry give MINIKV_STOPPED and
 *   MINIKV_FORKED. A call that fails has changed nothing. Which of several errors comes out is fixed: stopped, forked,
 *   invalid_key, invalid_value, invalid_argument, stale_fence, locked, conflict.
 *   Setters and builders have no `err`: they remember the first error for the call that uses them.
 *   In a cluster, writes and locks also give MINIKV_CLUSTER while this machine's clock is far from the others'.
 *
 * Parameters stand in this order: the handle, what goes in, options, what comes out, `err`.
 *
 * NULL. A pointer that must not be NULL and is gives MINIKV_INVALID_ARGUMENT (a key: MINIKV_INVALID_KEY) and the message
 *   names it; nothing crashes. Options may be NULL: the defaults. An output may be NULL where its function says so.
 *
 * Outputs are written only on success; but a minikv_view becomes empty otherwise. Handles among them: NULL stands for
 *   "nothing there" where the function says so.
 *
 * Ownership. A handle that comes out of a call (`minikv_x **`) is yours and ends with its minikv_x_free, which takes
 *   NULL as well. What comes back as a `const` pointer or as a span is borrowed and lives as long as the handle that
 *   it was asked of. A `char *` is yours and ends with minikv_string_free; a `const char *` is borrowed. What you pass
 *   in is copied; it may go when the call returns. Nothing is freed twice, and nothing used after its free.
 *
 * Strings and spans. What belongs to your data (keys, prefixes, text, bytes, JSON, owners, node names) is a span of
 *   bytes, which may hold zeros. Names that stand in programs (a registry, a cluster, an endpoint, a
 *   path), and what the library writes itself (messages, names of kinds and types, versions, cursors, digests,
 *   incarnations, JSON), are terminated strings. Text is UTF-8.
 *
 * Threads. Every handle may be used by several threads at once, without a lock of yours. Only its free is for one
 *   thread, when no other uses it any more. A guard may be used and freed on another thread than it was taken on.
 *   Callbacks run with no lock held and may call the library.
 *   The library's own threads are started when they are needed, and inherit the mask of signals of the thread that
 *   starts a registry: block there what shall be handled by threads of yours.
 *
 * Time. Durations are int64_t milliseconds (`_ms`), where it matters also nanoseconds (`_ns`); a negative one is
 *   MINIKV_INVALID_ARGUMENT. A wait or timeout of MINIKV_FOREVER takes as long as it takes. Points in time are
 *   nanoseconds since the Unix epoch.
 *
 * Fork. In a child process the handles of its parent give MINIKV_FORKED and may be freed; start a registry there.
 *   Not a member of a cluster, if the parent has had one: its threads do not survive a fork, and starting one says
 *   MINIKV_FORKED. Start members after the fork, or in a process of their own (fork and exec).
 *
 * Clusters. A registry whose options name a cluster is a member of it. Reads and writes stay in memory and never wait for
 *   others; what takes a lock asks another member. A member has a few threads and some sockets, which programs that it
 *   starts do not inherit. Stopping it lets the others know at once; a program may also just end. Warnings go to stderr,
 *   a line each; MINIKV_LOG=off in the environment silences them.
 */


#ifndef MINIKV_H
#define MINIKV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/** For as long as it takes, where a wait or a timeout is asked for. */
#define MINIKV_FOREVER INT64_MAX

/**
 * What a call says of itself. The numbers and names are fixed and never reused.
 */
enum minikv_code
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Your callback gave a negative number; minikv_error_status tells which. Nothing was changed.
     */
    MINIKV_CALLBACK = -1,
    /**
     * All went well.
     */
    MINIKV_OK = 0,
    /**
     * The registry was stopped.
     */
    MINIKV_STOPPED = 1,
    /**
     * This process is a fork of the one that started the registry; start a new one here.
     */
    MINIKV_FORKED = 2,
    /**
     * The key is empty or too long.
     */
    MINIKV_INVALID_KEY = 3,
    /**
     * The value cannot be stored, or is not of the type that the operation needs.
     */
    MINIKV_INVALID_VALUE = 4,
    /**
     * An option or argument is NULL, out of range, misspelt, or contradicts another.
     */
    MINIKV_INVALID_ARGUMENT = 5,
    /**
     * The fence given is not the key's last one, or was released.
     */
    MINIKV_STALE_FENCE = 6,
    /**
     * Somebody else holds the key's lock.
     */
    MINIKV_LOCKED = 7,
    /**
     * A condition (if_absent, if_version) did not hold.
     */
    MINIKV_CONFLICT = 8,
    /**
     * A guard's lock ended before the guard released it.
     */
    MINIKV_LOCK_LOST = 9,
    /**
     * A wait other than one for a lock ran out of time.
     */
    MINIKV_TIMEOUT = 10,
    /**
     * There is no such key or registry.
     */
    MINIKV_NOT_FOUND = 11,
    /**
     * A registry of this name runs in this process already.
     */
    MINIKV_ALREADY_STARTED = 12,
    /**
     * A configured limit (entries, bytes, watchers) is reached.
     */
    MINIKV_LIMIT = 13,
    /**
     * Too few voters are reachable.
     */
    MINIKV_NO_QUORUM = 14,
    /**
     * The cluster cannot take this call now.
     */
    MINIKV_CLUSTER = 15,
    /**
     * Reading or writing a file or socket failed.
     */
    MINIKV_IO = 16,
    /**
     * Data read from outside is not in the expected format.
     */
    MINIKV_CORRUPT = 17,
    /**
     * A defect of this library.
     */
    MINIKV_INTERNAL = 18,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum minikv_code minikv_code;
#else
typedef int32_t minikv_code;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The types of values.
 */
enum minikv_type
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * There is no value: the handle is NULL, or the value is not complete.
     */
    MINIKV_NONE = 0,
    /**
     * nil
     */
    MINIKV_NIL = 1,
    /**
     * true or false
     */
    MINIKV_BOOL = 2,
    /**
     * a signed 64-bit integer
     */
    MINIKV_INT = 3,
    /**
     * a 64-bit float
     */
    MINIKV_FLOAT = 4,
    /**
     * UTF-8 text
     */
    MINIKV_TEXT = 5,
    /**
     * bytes
     */
    MINIKV_BYTES = 6,
    /**
     * a list of values
     */
    MINIKV_LIST = 7,
    /**
     * a map from text to values
     */
    MINIKV_MAP = 8,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum minikv_type minikv_type;
#else
typedef int32_t minikv_type;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What happened to a key, to a member of the cluster, or to the watch. Later versions may add others.
 */
enum minikv_event_type
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * The event is NULL, or of a type that this library does not know.
     */
    MINIKV_EVENT_NONE = 0,
    /**
     * A value was put, incremented or updated; also each present entry of a watch with `initial`.
     */
    MINIKV_EVENT_PUT = 1,
    /**
     * The entry was deleted; the event carries it.
     */
    MINIKV_EVENT_DELETE = 2,
    /**
     * The entry expired; the event carries it.
     */
    MINIKV_EVENT_EXPIRE = 3,
    /**
     * The expiry was moved.
     */
    MINIKV_EVENT_TOUCH = 4,
    /**
     * The expiry was cleared.
     */
    MINIKV_EVENT_PERSIST = 5,
    /**
     * Somebody was granted the lock.
     */
    MINIKV_EVENT_LOCK = 6,
    /**
     * The lock was released, or its lease ran out.
     */
    MINIKV_EVENT_UNLOCK = 7,
    /**
     * The reader was too slow: so many events before the next one are lost (minikv_event_count).
     */
    MINIKV_EVENT_LAGGED = 8,
    /**
     * In a cluster: the entries of a node (minikv_event_node) have passed to another one (minikv_event_owner), or
     * back; one event for all of them. Every watch gets it, whatever its keys.
     */
    MINIKV_EVENT_OWNER = 9,
    /**
     * In a cluster: a member (minikv_event_node) came, went, or is otherwise than before (minikv_event_state). Every
     * watch gets it, whatever its keys.
     */
    MINIKV_EVENT_MEMBER = 10,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum minikv_event_type minikv_event_type;
#else
typedef int32_t minikv_event_type;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * How a member is, as the one sees it that is asked. Later versions may add others.
 */
enum minikv_member_state
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * There is no member, or it is in a state that this library does not know.
     */
    MINIKV_MEMBER_NONE = 0,
    /**
     * It is there, and has not got all entries yet.
     */
    MINIKV_MEMBER_JOINING = 1,
    /**
     * It is there and synced.
     */
    MINIKV_MEMBER_LIVE = 2,
    /**
     * Nothing was heard of it for the failure timeout, its link has closed, or it does not hear this one.
     */
    MINIKV_MEMBER_DOWN = 3,
    /**
     * It has said that it goes.
     */
    MINIKV_MEMBER_LEFT = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum minikv_member_state minikv_member_state;
#else
typedef int32_t minikv_member_state;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What an update callback wants; a negative number of your own makes the call fail with MINIKV_CALLBACK.
 */
enum minikv_update_result
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Leave everything as it is.
     */
    MINIKV_UPDATE_KEEP = 0,
    /**
     * Store what was built in `value`.
     */
    MINIKV_UPDATE_PUT = 1,
    /**
     * Remove the entry.
     */
    MINIKV_UPDATE_DELETE = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum minikv_update_result minikv_update_result;
#else
typedef int32_t minikv_update_result;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * A snapshot of a key as it was when it was read. Never changes.
 *
 * What its functions give borrowed (spans, strings, the value) lives as long as the entry.
 * Of a NULL entry they give false, 0, NULL, {NULL, 0} or MINIKV_NONE.
 */
typedef struct minikv_entry minikv_entry;

/**
 * Why a call failed: a code, a message for people, and what belongs to the code.
 *
 * Made by the library, freed by the caller with minikv_error_free. Never changes.
 */
typedef struct minikv_error minikv_error;

/**
 * One thing that happened. Never changes.
 *
 * What its functions give is borrowed and lives as long as the event.
 */
typedef struct minikv_event minikv_event;

/**
 * A held lock. Its functions act as its holder, with its fence; freeing it releases the lock.
 *
 * A lease that was given is renewed by itself. If the lock is lost all the same, minikv_guard_is_lost tells, and
 * every function fails with MINIKV_LOCK_LOST. It may be used and freed on any thread.
 */
typedef struct minikv_guard minikv_guard;

/**
 * Options of a listing. NULL in their place: everything at once.
 */
typedef struct minikv_list_options minikv_list_options;

/**
 * Options of a lock and of a guard. NULL in their place: none.
 */
typedef struct minikv_lock_options minikv_lock_options;

/**
 * One member of a cluster, as it was when it was asked for. Never changes.
 *
 * It is borrowed from its list and lives as long; so does what its functions give.
 */
typedef struct minikv_member minikv_member;

/**
 * The members of a cluster. Never changes. Free it with minikv_member_list_free.
 */
typedef struct minikv_member_list minikv_member_list;

/**
 * What a registry is started with: plain data that can be read from JSON or TOML, printed and started again.
 *
 * The setters remember their first error, and minikv_registry_start gives it: their codes need not be looked at.
 */
typedef struct minikv_options minikv_options;

/**
 * The result of an operation on many keys. Never changes. Free it with minikv_page_free.
 *
 * What its functions give is borrowed and lives as long as the page.
 */
typedef struct minikv_page minikv_page;

/**
 * A request for a guard that may be waiting. Freeing it leaves the queue, or gives back a lock that was granted and
 * not taken.
 */
typedef struct minikv_pending_guard minikv_pending_guard;

/**
 * A request for a lock that may be waiting. Freeing it leaves the queue, or gives back a lock that was granted and
 * not taken.
 */
typedef struct minikv_pending_lock minikv_pending_lock;

/**
 * A wait for the first sync. Freeing it ends the wait and nothing else.
 */
typedef struct minikv_pending_sync minikv_pending_sync;

/**
 * Options of a put. NULL in their place: none.
 */
typedef struct minikv_put_options minikv_put_options;

/**
 * A handle to a running registry. When the last handle is freed, the registry stops.
 *
 * A handle stays valid after minikv_registry_stop; every call then gives MINIKV_STOPPED.
 */
typedef struct minikv_registry minikv_registry;

/**
 * Strings. Never changes. Free it with minikv_string_list_free.
 */
typedef struct minikv_string_list minikv_string_list;

/**
 * A value: one that you build with minikv_value_new and the `add` functions, or one that you read.
 *
 * Built: the first error is remembered and comes out of the call that stores the value, so the codes of
 * the `add` functions need not be looked at. Once complete it can be read and stored, as often as you like.
 * Read (from an entry, or from another value): borrowed from where it came, not to be freed. Never changes.
 */
typedef struct minikv_value minikv_value;

/**
 * A subscription, subscribed when minikv_watch_open or minikv_watch_start returns. It ends with
 * minikv_watch_free or with the registry, which it does not keep running.
 */
typedef struct minikv_watch minikv_watch;

/**
 * Options of a watch. NULL in their place: every key, no present entries first, a queue of 4096 events.
 */
typedef struct minikv_watch_options minikv_watch_options;

/**
 * Who asks, and what must hold: options of every write. NULL in their place: none.
 *
 * The setters of all options remember their first error, and the call that uses the options gives it:
 * their codes need not be looked at. Options may be used for any number of calls.
 * In a cluster conditions are checked on this member only; hold the lock to make them exclusive.
 */
typedef struct minikv_write_options minikv_write_options;

/**
 * A span of bytes: a key, a prefix, a text, bytes. Not terminated; may hold zeros.
 *
 * `{NULL, 0}` is an empty span; as a result it also stands for "none", an empty one then has a
 * pointer. Make one of a C string with `minikv_str("...")`, of memory with `minikv_span(ptr, len)`.
 */
typedef struct {
    /**
     * The first byte.
     */
    const uint8_t *ptr;
    /**
     * How many bytes there are.
     */
    size_t len;
} minikv_bytes;

/**
 * Told once that a guard's lock was lost, on whichever thread caused the loss, with no lock held. It must be
 * quick; it may call the library; it must not throw.
 */
typedef void (*minikv_lost_fn)(void *user);

/**
 * Told once that a pending lock, or a first sync, is decided, on whichever thread decided it, with no lock held. It
 * must be quick; it may call the library; it must not throw.
 */
typedef void (*minikv_ready_fn)(void *user);

/**
 * Counts of one moment.
 *
 * Later versions of the library may append fields: minikv_registry_stats is told the size that you know.
 */
typedef struct {
    /**
     * Entries in the table; those that have just expired may be among them.
     */
    uint64_t entries;
    /**
     * Bytes of memory for entries and their indexes, without what the allocator adds.
     */
    uint64_t bytes;
    /**
     * Entries that will expire.
     */
    uint64_t expiring;
    /**
     * Locks that are held.
     */
    uint64_t locks;
    /**
     * Callers that wait for a lock.
     */
    uint64_t waiters;
    /**
     * Open watches.
     */
    uint64_t watchers;
    /**
     * Events that slow watchers have lost since the start.
     */
    uint64_t lagged;
    /**
     * Entries that have expired since the start.
     */
    uint64_t expired;
    /**
     * How often a background worker was restarted.
     */
    uint64_t worker_restarts;
    /**
     * 1; 0 after too many restarts within a minute: reads and writes go on, expiry may be late.
     */
    uint64_t healthy;
    /**
     * Members of the cluster in touch, joining or live, this one included; a registry by itself has 1, and 0 in all that follows.
     */
    uint64_t members;
    /**
     * Changes sent to other members since the start.
     */
    uint64_t replicated_out;
    /**
     * Changes of other members applied here since the start.
     */
    uint64_t replicated_in;
    /**
     * Changes waiting to be sent.
     */
    uint64_t outbox;
    /**
     * Changes that found the outbox full; the others fetch them by comparing.
     */
    uint64_t outbox_overflows;
    /**
     * Comparisons with another member that moved something.
     */
    uint64_t repairs;
    /**
     * Deleted and expired entries that are kept in mind until all members know.
     */
    uint64_t tombstones;
    /**
     * Changes stamped too far in the future, kept aside until they are due.
     */
    uint64_t parked;
    /**
     * Messages, links and connections turned away: garbage, another cluster, another version, wrong certificates.
     */
    uint64_t refused;
    /**
     * Entries received in the first sync.
     */
    uint64_t sync_entries;
    /**
     * Entries that the first sync has in all.
     */
    uint64_t sync_total;
    /**
     * How far this clock is from the lower median of the live members', in milliseconds.
     */
    int64_t clock_offset_ms;
} minikv_stats;

/**
 * Makes a new value of the present entry (NULL: the key is absent): builds it in `value` and gives
 * MINIKV_UPDATE_PUT, or gives MINIKV_UPDATE_KEEP or MINIKV_UPDATE_DELETE, or a negative number to fail.
 *
 * Called on the calling thread, with no lock held, and again if somebody wrote in between. Both handles are
 * borrowed and end with the call. It may call the library; it must not throw nor jump out.
 */
typedef int32_t (*minikv_update_fn)(void *user, const minikv_entry *present, minikv_value *value);

/**
 * Builds a missing value in `value` and gives 0, or a negative number to fail.
 *
 * Called on the calling thread, with no lock held. `value` is borrowed and ends with the call.
 * It may call the library; it must not throw nor jump out.
 */
typedef int32_t (*minikv_compute_fn)(void *user, minikv_value *value);

/**
 * The value of a key as it was when it was read, in a variable of yours: reading it allocates and copies nothing.
 *
 * Either empty, as one of zeros is, or filled by minikv_view_get. A filled one keeps the memory of its value until
 * minikv_view_free, whatever becomes of the key or the registry; that is how long `bytes` may be read.
 * Only the field that belongs to the type is set, the others are 0. Of a list or a map there is the type only:
 * read those with minikv_get, as all else that is known of an entry.
 *
 *     minikv_view view;
 *     bool found;
 *     if (minikv_view_get(kv, minikv_str("greeting"), &view, &found, NULL) == MINIKV_OK && view.type == MINIKV_TEXT) {
 *         fwrite(view.bytes.ptr, 1, view.bytes.len, stdout);
 *     }
 *     minikv_view_free(&view);
 *
 * It may be moved, but there is one value to free: of several copies free one, and use none after that.
 */
typedef struct {
    /**
     * The type of the value; MINIKV_NONE if the view is empty.
     */
    minikv_type type;
    /**
     * Of MINIKV_BOOL: the value.
     */
    bool as_bool;
    /**
     * The library's own: whether there is something to free. Do not change it.
     */
    bool held;
    /**
     * Of MINIKV_INT: the value.
     */
    int64_t as_int;
    /**
     * Of MINIKV_FLOAT: the value.
     */
    double as_float;
    /**
     * Of MINIKV_TEXT (UTF-8) and MINIKV_BYTES: the value, borrowed from the view. Otherwise {NULL, 0}.
     */
    minikv_bytes bytes;
    /**
     * The library's own. Do not read or change it.
     */
    uint64_t opaque[8];
} minikv_view;

/**
 * Receives the events of a watch, in order, one at a time, on a thread of the library, with no lock held.
 *
 * `event` is borrowed and ends with the call. A last call with `event` NULL says that the watch has ended, and
 * that `user` is not needed any more. It may call the library, also to free the watch; it must not throw.
 */
typedef void (*minikv_event_fn)(void *user, const minikv_event *event);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Frees a string that the library gave as `char *`. NULL is fine.
 */
void minikv_string_free(char *string);

/**
 * The version of the library, such as "0.1.0".
 */
const char *minikv_version(void);

/**
 * No options. Free them with minikv_write_options_free.
 */
minikv_write_options *minikv_write_options_new(void);

/**
 * Frees options. NULL is fine.
 */
void minikv_write_options_free(minikv_write_options *options);

/**
 * Acts as the holder with this label: UTF-8, at most 1024 bytes, copied. Default: no label, which is not the empty one.
 */
minikv_code minikv_write_options_set_owner(minikv_write_options *options,
                                           minikv_bytes owner);

/**
 * Only if this is the key's last fence and was not released; otherwise MINIKV_STALE_FENCE.
 */
minikv_code minikv_write_options_set_fence(minikv_write_options *options, uint64_t fence);

/**
 * Only if the entry is present with this version; otherwise MINIKV_CONFLICT.
 */
minikv_code minikv_write_options_set_if_version(minikv_write_options *options, const char *version);

/**
 * No options. Free them with minikv_put_options_free.
 */
minikv_put_options *minikv_put_options_new(void);

/**
 * Frees options. NULL is fine.
 */
void minikv_put_options_free(minikv_put_options *options);

/**
 * As minikv_write_options_set_owner.
 */
minikv_code minikv_put_options_set_owner(minikv_put_options *options, minikv_bytes owner);

/**
 * As minikv_write_options_set_fence.
 */
minikv_code minikv_put_options_set_fence(minikv_put_options *options, uint64_t fence);

/**
 * As minikv_write_options_set_if_version.
 */
minikv_code minikv_put_options_set_if_version(minikv_put_options *options, const char *version);

/**
 * Expires after so many milliseconds; 0: at once. Default: the registry's default_ttl.
 */
minikv_code minikv_put_options_set_ttl_ms(minikv_put_options *options, int64_t ms);

/**
 * The same in nanoseconds.
 */
minikv_code minikv_put_options_set_ttl_ns(minikv_put_options *options, int64_t ns);

/**
 * Never expires, whatever ttl, keep_ttl and default_ttl say. Default false.
 */
minikv_code minikv_put_options_set_persist(minikv_put_options *options, bool persist);

/**
 * Expires when the present entry does; on an absent key as by default. Contradicts a ttl. Default false.
 */
minikv_code minikv_put_options_set_keep_ttl(minikv_put_options *options,
                                            bool keep_ttl);

/**
 * Only if the key is absent; otherwise MINIKV_CONFLICT. Default false.
 */
minikv_code minikv_put_options_set_if_absent(minikv_put_options *options, bool if_absent);

/**
 * Takes the lock in the same step; never waits. Default false.
 */
minikv_code minikv_put_options_set_lock(minikv_put_options *options, bool lock);

/**
 * The lease of the lock that `lock` takes, in milliseconds, at most 10 minutes. Default: the registry's lock_lease.
 */
minikv_code minikv_put_options_set_lease_ms(minikv_put_options *options,
                                            int64_t ms);

/**
 * The same in nanoseconds.
 */
minikv_code minikv_put_options_set_lease_ns(minikv_put_options *options, int64_t ns);

/**
 * No options. Free them with minikv_lock_options_free.
 */
minikv_lock_options *minikv_lock_options_new(void);

/**
 * Frees options. NULL is fine.
 */
void minikv_lock_options_free(minikv_lock_options *options);

/**
 * As minikv_write_options_set_owner. A guard without a label takes one that no other guard has.
 */
minikv_code minikv_lock_options_set_owner(minikv_lock_options *options, minikv_bytes owner);

/**
 * As minikv_write_options_set_fence.
 */
minikv_code minikv_lock_options_set_fence(minikv_lock_options *options, uint64_t fence);

/**
 * As minikv_write_options_set_if_version.
 */
minikv_code minikv_lock_options_set_if_version(minikv_lock_options *options, const char *version);

/**
 * Waits for the lock at most so many milliseconds, in order of arrival; MINIKV_FOREVER: as long as it takes. Default 0.
 */
minikv_code minikv_lock_options_set_wait_ms(minikv_lock_options *options,
                                            int64_t ms);

/**
 * The same in nanoseconds.
 */
minikv_code minikv_lock_options_set_wait_ns(minikv_lock_options *options, int64_t ns);

/**
 * The lock ends by itself after so many milliseconds, at most 10 minutes; a guard renews it.
 * Default: the registry's lock_lease.
 */
minikv_code minikv_lock_options_set_lease_ms(minikv_lock_options *options, int64_t ms);

/**
 * The same in nanoseconds.
 */
minikv_code minikv_lock_options_set_lease_ns(minikv_lock_options *options, int64_t ns);

/**
 * Of a guard: on an absent key stores nil and locks it in one step; the release deletes it if nobody put a
 * value since. Default false: an absent key is MINIKV_NOT_FOUND.
 */
minikv_code minikv_lock_options_set_create(minikv_lock_options *options,
                                           bool create);

/**
 * Of a lock: puts a copy of this value in the same step, also on an absent key. Of the put's options (NULL:
 * none) ttl, persist, keep_ttl and if_absent count; the others belong to the lock.
 */
minikv_code minikv_lock_options_set_put(minikv_lock_options *options,
                                        const minikv_value *value,
                                        const minikv_put_options *put_options);

/**
 * Everything at once. Free them with minikv_list_options_free.
 */
minikv_list_options *minikv_list_options_new(void);

/**
 * Frees options. NULL is fine.
 */
void minikv_list_options_free(minikv_list_options *options);

/**
 * Only keys that start with these bytes, at most 65,535, copied. Default: all.
 */
minikv_code minikv_list_options_set_prefix(minikv_list_options *options, minikv_bytes prefix);

/**
 * At most so many items, at least 1; the page's cursor leads to the next ones. Default: no limit.
 */
minikv_code minikv_list_options_set_limit(minikv_list_options *options, size_t limit);

/**
 * Goes on where the page with this cursor ended.
 */
minikv_code minikv_list_options_set_cursor(minikv_list_options *options, const char *cursor);

/**
 * Every key. Free them with minikv_watch_options_free.
 */
minikv_watch_options *minikv_watch_options_new(void);

/**
 * Frees options. NULL is fine.
 */
void minikv_watch_options_free(minikv_watch_options *options);

/**
 * Only keys that start with these bytes, at most 65,535, copied. Default: all.
 */
minikv_code minikv_watch_options_set_prefix(minikv_watch_options *options, minikv_bytes prefix);

/**
 * Only this key. Contradicts a prefix. Copied.
 */
minikv_code minikv_watch_options_set_key(minikv_watch_options *options, minikv_bytes key);

/**
 * The present entries come first, as MINIKV_EVENT_PUT, without a gap before what follows. Default false.
 */
minikv_code minikv_watch_options_set_initial(minikv_watch_options *options,
                                             bool initial);

/**
 * How many unread events are kept before the oldest are dropped, 1 to 2^24. Default 4096.
 */
minikv_code minikv_watch_options_set_capacity(minikv_watch_options *options, size_t capacity);

/**
 * Makes the registry a member of the cluster of this name, together with all others of this name that it meets;
 * members of other clusters are never met. Give each member a node name of its own (minikv_options_set_node).
 * Default: no cluster, no sockets.
 *
 * The cluster's other options are refused without it, as is a manual clock with it.
 */
minikv_code minikv_options_set_cluster(minikv_options *options,
                                       const char *cluster);

/**
 * Listens here too: "host:port" (port 0: a free one, see minikv_endpoints; an IPv6 address in brackets) or
 * "unix:/path/to.sock" (a path of at most 100 bytes). Default: "127.0.0.1:0" alone.
 */
minikv_code minikv_options_add_listen(minikv_options *options,
                                      const char *endpoint);

/**
 * Dials this endpoint too, written as for minikv_options_add_listen. One that cannot be reached is tried again for
 * ever, and is no error; one reachable member is enough to learn of all others. Default: none.
 */
minikv_code minikv_options_add_peer(minikv_options *options,
                                    const char *endpoint);

/**
 * Finds members of the local network by multicast. Default: only peers, and whom they know.
 */
minikv_code minikv_options_set_discovery_multicast(minikv_options *options);

/**
 * How long, in milliseconds from 100 to 60,000, a member may be silent until it is taken for dead: it is then
 * down, and its entries pass to another; its locks end after twice that time. Default 2,500.
 */
minikv_code minikv_options_set_failure_timeout_ms(minikv_options *options,
                                                  int64_t ms);

/**
 * Encrypts all links, and refuses who has no certificate of the same authority: the paths of three PEM files, the
 * authority's certificate, this member's certificate and its private key. They are read when the registry starts
 * (MINIKV_IO if that fails). Default: no encryption.
 */
minikv_code minikv_options_set_tls(minikv_options *options,
                                   const char *ca,
                                   const char *cert,
                                   const char *key);

/**
 * The key's bytes.
 */
minikv_bytes minikv_entry_key(const minikv_entry *entry);

/**
 * The type of the value.
 */
minikv_type minikv_entry_type(const minikv_entry *entry);

/**
 * The value, for lists and maps; also of any other type. Borrowed: do not free it.
 */
const minikv_value *minikv_entry_value(const minikv_entry *entry);

/**
 * Whether the value is a bool; sets `*value` if it is and `value` is not NULL.
 */
bool minikv_entry_as_bool(const minikv_entry *entry, bool *value);

/**
 * Whether the value is an int; sets `*value` if it is and `value` is not NULL.
 */
bool minikv_entry_as_int(const minikv_entry *entry, int64_t *value);

/**
 * Whether the value is a float; sets `*value` if it is and `value` is not NULL.
 */
bool minikv_entry_as_float(const minikv_entry *entry, double *value);

/**
 * Whether the value is text; sets `*value` (not copied, UTF-8) if it is and `value` is not NULL.
 */
bool minikv_entry_as_text(const minikv_entry *entry, minikv_bytes *value);

/**
 * Whether the value is bytes; sets `*value` (not copied) if it is and `value` is not NULL.
 */
bool minikv_entry_as_bytes(const minikv_entry *entry, minikv_bytes *value);

/**
 * The owner: the name of the node whose put created this value; in a cluster, while no member of that name is live, the
 * live member whose name comes first.
 */
minikv_bytes minikv_entry_node(const minikv_entry *entry);

/**
 * When the value was put, in nanoseconds since the Unix epoch.
 */
int64_t minikv_entry_time(const minikv_entry *entry);

/**
 * Whether the entry expires; sets `*ns` (nanoseconds since the Unix epoch) if it does and `ns` is not NULL.
 */
bool minikv_entry_exp(const minikv_entry *entry,
                      int64_t *ns);

/**
 * Whether the entry expires; sets `*ns` (what it had left when it was read, in nanoseconds) if it does
 * and `ns` is not NULL.
 */
bool minikv_entry_expires_in(const minikv_entry *entry,
                             int64_t *ns);

/**
 * Whether somebody held the key's lock.
 */
bool minikv_entry_is_locked(const minikv_entry *entry);

/**
 * The node of the lock's holder; {NULL, 0} if nobody holds it.
 */
minikv_bytes minikv_entry_holder_node(const minikv_entry *entry);

/**
 * The label of the lock's holder; {NULL, 0} if it has none, or nobody holds the lock.
 */
minikv_bytes minikv_entry_holder_owner(const minikv_entry *entry);

/**
 * Whether the key was ever locked; sets `*fence` (that of its last lock) if it was and `fence` is not NULL.
 */
bool minikv_entry_fence(const minikv_entry *entry,
                        uint64_t *fence);

/**
 * The version of the value: sortable text of [0-9a-f-], which changes with every put, incr, update, touch
 * and persist. For minikv_put_options_set_if_version and its like; also a good ETag.
 */
const char *minikv_entry_version(const minikv_entry *entry);

/**
 * The entry as a JSON object of key, value, type, node, time, exp, lock, holder, fence and version.
 * Free `*json` with minikv_string_free.
 *
 * Error: MINIKV_INVALID_VALUE if a part has no JSON form: a key that is not UTF-8, bytes, NaN, infinity.
 */
minikv_code minikv_entry_json(const minikv_entry *entry,
                              char **json,
                              minikv_error **err);

/**
 * Another handle to the same entry, which shares its memory. NULL of NULL.
 */
minikv_entry *minikv_entry_clone(const minikv_entry *entry);

/**
 * Frees an entry and with it what was borrowed from it. NULL is fine.
 */
void minikv_entry_free(minikv_entry *entry);

/**
 * The code. Of NULL: MINIKV_OK.
 */
minikv_code minikv_error_code(const minikv_error *error);

/**
 * The stable name of the code, such as "invalid_key". Of NULL: "ok". Lives for ever.
 */
const char *minikv_error_kind(const minikv_error *error);

/**
 * A message for people; its text may change. Lives as long as the error. Of NULL: "".
 */
const char *minikv_error_message(const minikv_error *error);

/**
 * Of MINIKV_CONFLICT: the entry that was there; NULL if the key is absent. NULL for every other code.
 *
 * Borrowed: it lives as long as the error.
 */
const minikv_entry *minikv_error_present(const minikv_error *error);

/**
 * Of MINIKV_CALLBACK: the negative number that your callback gave. Otherwise 0.
 */
int32_t minikv_error_status(const minikv_error *error);

/**
 * Whether this MINIKV_LOCKED came after waiting for the lock.
 */
bool minikv_error_is_lock_timeout(const minikv_error *error);

/**
 * Whether this MINIKV_INVALID_VALUE is an integer (in JSON) that does not fit into signed 64 bit.
 */
bool minikv_error_is_int_out_of_range(const minikv_error *error);

/**
 * Frees an error. NULL is fine.
 */
void minikv_error_free(minikv_error *error);

/**
 * The stable name of a code, such as "invalid_key"; NULL for a number that is none. Lives for ever.
 */
const char *minikv_code_name(int32_t code);

/**
 * What happened; MINIKV_EVENT_NONE of NULL.
 */
minikv_event_type minikv_event_type_of(const minikv_event *event);

/**
 * The name of an event type, such as "put"; "none" for MINIKV_EVENT_NONE, NULL for a number that is none.
 * Lives for ever.
 */
const char *minikv_event_type_name(int32_t event_type);

/**
 * The key; {NULL, 0} for MINIKV_EVENT_LAGGED, MINIKV_EVENT_OWNER, MINIKV_EVENT_MEMBER and NULL.
 */
minikv_bytes minikv_event_key(const minikv_event *event);

/**
 * The entry after the event, for delete and expire the removed one; NULL where there is no key.
 */
const minikv_entry *minikv_event_entry(const minikv_event *event);

/**
 * For MINIKV_EVENT_LAGGED the number of events lost, otherwise 1; 0 of NULL.
 */
uint64_t minikv_event_count(const minikv_event *event);

/**
 * For MINIKV_EVENT_MEMBER the member's node name, for MINIKV_EVENT_OWNER that of the node whose entries have passed;
 * otherwise {NULL, 0}.
 */
minikv_bytes minikv_event_node(const minikv_event *event);

/**
 * For MINIKV_EVENT_MEMBER how the member is from now on; otherwise MINIKV_MEMBER_NONE.
 */
minikv_member_state minikv_event_state(const minikv_event *event);

/**
 * For MINIKV_EVENT_OWNER the node that has the entries from now on; otherwise {NULL, 0}.
 */
minikv_bytes minikv_event_owner(const minikv_event *event);

/**
 * Frees an event and with it what was borrowed from it. Not one that a callback was given. NULL is fine.
 */
void minikv_event_free(minikv_event *event);

/**
 * Locks a key and gives a guard that releases it. Without an owner in the options it excludes everyone else, other
 * threads of this process included. With a wait, blocks this thread in the queue for the lock.
 * Free `*guard` with minikv_guard_free.
 *
 * Errors: those of minikv_lock; MINIKV_NOT_FOUND if the key is absent and `create` is not set.
 */
minikv_code minikv_locked(const minikv_registry *registry,
                          minikv_bytes key,
                          const minikv_lock_options *options,
                          minikv_guard **guard,
                          minikv_error **err);

/**
 * Releases the lock, if it is held, and frees the guard. NULL is fine. To learn whether the lock was lost, call
 * minikv_guard_release first.
 */
void minikv_guard_free(minikv_guard *guard);

/**
 * The key that is locked. Borrowed: lives as long as the guard.
 */
minikv_bytes minikv_guard_key(const minikv_guard *guard);

/**
 * The holder's label: the one given, or one that no other guard has. Borrowed: lives as long as the guard.
 */
minikv_bytes minikv_guard_owner(const minikv_guard *guard);

/**
 * The fence of this lock: larger than that of every lock of this key before it. 0 of NULL.
 */
uint64_t minikv_guard_fence(const minikv_guard *guard);

/**
 * Whether the lock ended before it was released. False of NULL.
 */
bool minikv_guard_is_lost(const minikv_guard *guard);

/**
 * Calls back once if the lock is lost, at once if it is already; not after a release. Each call adds a callback.
 *
 * Error: MINIKV_STOPPED, MINIKV_FORKED.
 */
minikv_code minikv_guard_on_lost(const minikv_guard *guard,
                                 minikv_lost_fn callback,
                                 void *user,
                                 minikv_error **err);

/**
 * MINIKV_LOCK_LOST if the lock is not held any more.
 */
minikv_code minikv_guard_check(const minikv_guard *guard, minikv_error **err);

/**
 * Releases the lock; once more is fine. The guard stays to be freed.
 *
 * Error: MINIKV_LOCK_LOST if the lock ended before.
 */
minikv_code minikv_guard_release(const minikv_guard *guard, minikv_error **err);

/**
 * Reads the entry. `*entry` is NULL if the key is absent; otherwise free it with minikv_entry_free.
 *
 * Error: MINIKV_LOCK_LOST.
 */
minikv_code minikv_guard_get(const minikv_guard *guard, minikv_entry **entry, minikv_error **err);

/**
 * Removes the entry, and with it the lock: there is nothing left to release. `*entry` is the removed one;
 * `entry` may be NULL.
 *
 * Error: MINIKV_LOCK_LOST.
 */
minikv_code minikv_guard_delete(const minikv_guard *guard,
                                minikv_entry **entry,
                                minikv_error **err);

/**
 * Adds to an int, as minikv_incr. `*entry` is the entry; `entry` may be NULL.
 *
 * Errors: MINIKV_LOCK_LOST, MINIKV_INVALID_VALUE.
 */
minikv_code minikv_guard_incr(const minikv_guard *guard,
                              int64_t by,
                              minikv_entry **entry,
                              minikv_error **err);

/**
 * Lets the entry expire so many milliseconds from now. `*entry` is the entry; `entry` may be NULL.
 *
 * Errors: MINIKV_LOCK_LOST, MINIKV_INVALID_ARGUMENT.
 */
minikv_code minikv_guard_touch_ms(const minikv_guard *guard,
                                  int64_t ttl_ms,
                                  minikv_entry **entry,
                                  minikv_error **err);

/**
 * The same in nanoseconds.
 */
minikv_code minikv_guard_touch_ns(const minikv_guard *guard,
                                  int64_t ttl_ns,
                                  minikv_entry **entry,
                                  minikv_error **err);

/**
 * Clears the expiry. `*entry` is the entry; `entry` may be NULL.
 *
 * Error: MINIKV_LOCK_LOST.
 */
minikv_code minikv_guard_persist(const minikv_guard *guard,
                                 minikv_entry **entry,
                                 minikv_error **err);

/**
 * How many items there are; 0 of NULL.
 */
size_t minikv_page_count(const minikv_page *page);

/**
 * The entry at a place from 0; NULL where there is none, past the end, and in a page of keys.
 */
const minikv_entry *minikv_page_entry(const minikv_page *page, size_t place);

/**
 * The key at a place from 0; {NULL, 0} where there is none and past the end.
 */
minikv_bytes minikv_page_key(const minikv_page *page, size_t place);

/**
 * Leads to the next page, through minikv_list_options_set_cursor; NULL: this was the last.
 */
const char *minikv_page_cursor(const minikv_page *page);

/**
 * Frees a page and with it what was borrowed from it. NULL is fine.
 */
void minikv_page_free(minikv_page *page);

/**
 * Lists keys, in no particular order, each once; what changes meanwhile may or may not show.
 * `options` NULL: all at once. Free `*page` with minikv_page_free.
 *
 * Errors: MINIKV_INVALID_KEY (the prefix), MINIKV_INVALID_ARGUMENT.
 */
minikv_code minikv_keys(const minikv_registry *registry,
                        const minikv_list_options *options,
                        minikv_page **page,
                        minikv_error **err);

/**
 * Lists entries; otherwise as minikv_keys.
 */
minikv_code minikv_entries(const minikv_registry *registry,
                           const minikv_list_options *options,
                           minikv_page **page,
                           minikv_error **err);

/**
 * Counts the keys that start with `prefix`; an empty one counts all.
 *
 * Error: MINIKV_INVALID_KEY (the prefix).
 */
minikv_code minikv_count(const minikv_registry *registry,
                         minikv_bytes prefix,
                         size_t *count,
                         minikv_error **err);

/**
 * Removes the entries whose keys start with `prefix` (empty: all) and that nobody else has locked, and those
 * only that meet the options' conditions. `*removed` is how many; `removed` may be NULL.
 *
 * Errors: MINIKV_INVALID_KEY (the prefix), MINIKV_INVALID_ARGUMENT.
 */
minikv_code minikv_clear(const minikv_registry *registry,
                         minikv_bytes prefix,
                         const minikv_write_options *options,
                         size_t *removed,
                         minikv_error **err);

/**
 * Reads many entries. The page has one item for each key, in the order asked; an absent one has no entry.
 * `keys` may be NULL if `count` is 0. Free `*page` with minikv_page_free.
 *
 * Error: MINIKV_INVALID_KEY.
 */
minikv_code minikv_get_many(const minikv_registry *registry,
                            const minikv_bytes *keys,
                            size_t count,
                            minikv_page **page,
                            minikv_error **err);

/**
 * Stores copies of many values under as many keys, all or none on this member; of a key given twice the last
 * value counts. The page has one entry for each key, in the order given; `page` may be NULL.
 *
 * Errors: those of minikv_put_value; MINIKV_INVALID_ARGUMENT also for a lock in a cluster, where each is asked for.
 */
minikv_code minikv_put_many(const minikv_registry *registry,
                            const minikv_bytes *keys,
                            const minikv_value *const *values,
                            size_t count,
                            const minikv_put_options *options,
                            minikv_page **page,
                            minikv_error **err);

/**
 * Removes many entries, all or none on this member; of a key given twice the second is absent. The page has
 * one item for each key, in the order given: the removed entry, or none; `page` may be NULL.
 *
 * Errors: those of minikv_delete.
 */
minikv_code minikv_delete_many(const minikv_registry *registry,
                               const minikv_bytes *keys,
                               size_t count,
                               const minikv_write_options *options,
                               minikv_page **page,
                               minikv_error **err);

/**
 * The name of a state of members, such as "live"; "none" for MINIKV_MEMBER_NONE, NULL for a number that is none.
 * Lives for ever.
 */
const char *minikv_member_state_name(int32_t state);

/**
 * Lists the members of the cluster, those that went within the last hour included, sorted by node, then incarnation; a registry by
 * itself is its own only member. Free `*members` with minikv_member_list_free.
 */
minikv_code minikv_members(const minikv_registry *registry,
                           minikv_member_list **members,
                           minikv_error **err);

/**
 * How many members there are; 0 of NULL.
 */
size_t minikv_member_list_count(const minikv_member_list *members);

/**
 * The member at a place from 0; NULL past the end. Borrowed: lives as long as the list.
 */
const minikv_member *minikv_member_list_at(const minikv_member_list *members, size_t place);

/**
 * Frees a list and with it what was borrowed from it. NULL is fine.
 */
void minikv_member_list_free(minikv_member_list *members);

/**
 * The node's name; {NULL, 0} of NULL.
 */
minikv_bytes minikv_member_node(const minikv_member *member);

/**
 * The identity of this start of the node, 32 hexadecimal digits; NULL of NULL.
 */
const char *minikv_member_incarnation(const minikv_member *member);

/**
 * How the member is, as this registry sees it; MINIKV_MEMBER_NONE of NULL.
 */
minikv_member_state minikv_member_state_of(const minikv_member *member);

/**
 * How many changes it has announced that are not applied here yet; 0 of NULL.
 */
uint64_t minikv_member_lag(const minikv_member *member);

/**
 * What the member holds, as 16 hexadecimal digits: members with equal tables have equal ones. NULL until it has told,
 * for a registry by itself, and of NULL. Not the same as minikv_digest, which leaves out owners, times and locks.
 */
const char *minikv_member_digest(const minikv_member *member);

/**
 * Whether it is the very registry that was asked. False of NULL.
 */
bool minikv_member_is_self(const minikv_member *member);

/**
 * Whether another live member has the same node name, which should not be. False of NULL.
 */
bool minikv_member_is_namesake(const minikv_member *member);

/**
 * Lists where other members can dial this one, with the true ports, in the form that minikv_options_add_peer takes;
 * none for a registry by itself. Free `*endpoints` with minikv_string_list_free.
 */
minikv_code minikv_endpoints(const minikv_registry *registry,
                             minikv_string_list **endpoints,
                             minikv_error **err);

/**
 * How many strings there are; 0 of NULL.
 */
size_t minikv_string_list_count(const minikv_string_list *strings);

/**
 * The string at a place from 0; NULL past the end. Borrowed: lives as long as the list.
 */
const char *minikv_string_list_at(const minikv_string_list *strings, size_t place);

/**
 * Frees a list and with it what was borrowed from it. NULL is fine.
 */
void minikv_string_list_free(minikv_string_list *strings);

/**
 * Reads an entry. `*entry` is NULL if the key is absent; otherwise free it with minikv_entry_free.
 *
 * Error: MINIKV_INVALID_KEY.
 */
minikv_code minikv_get(const minikv_registry *registry,
                       minikv_bytes key,
                       minikv_entry **entry,
                       minikv_error **err);

/**
 * Reads the plain value; of an absent key a copy of `otherwise`, or NULL if that is NULL.
 * Free `*value` with minikv_value_free.
 *
 * Errors: MINIKV_INVALID_KEY; MINIKV_INVALID_VALUE if `otherwise` is needed and not complete.
 */
minikv_code minikv_get_value(const minikv_registry *registry,
                             minikv_bytes key,
                             const minikv_value *otherwise,
                             minikv_value **value,
                             minikv_error **err);

/**
 * Whether the key is present.
 *
 * Error: MINIKV_INVALID_KEY.
 */
minikv_code minikv_contains(const minikv_registry *registry,
                            minikv_bytes key,
                            bool *present,
                            minikv_error **err);

/**
 * Removes an entry and ends its lock. `*entry` is the removed one, NULL if the key was absent; `entry` may be NULL.
 *
 * Errors: MINIKV_INVALID_KEY, MINIKV_INVALID_ARGUMENT, MINIKV_STALE_FENCE, MINIKV_LOCKED, MINIKV_CONFLICT.
 */
minikv_code minikv_delete(const minikv_registry *registry,
                          minikv_bytes key,
                          const minikv_write_options *options,
                          minikv_entry **entry,
                          minikv_error **err);

/**
 * Locks a present key. `*entry` is the locked entry, with the fence; NULL if the key is absent, and then
 * nothing is locked: so `entry` must not be NULL. With a wait, blocks this thread in the queue for the lock.
 * Again by the same holder: the same fence, and the later end of the lease.
 *
 * In a cluster another member is asked, also without a wait: that takes a round trip, and up to two failure timeouts
 * longer than the wait if nobody answers, which is then MINIKV_CLUSTER. So it is for minikv_locked, and for a put with
 * a lock. Unlocking asks nobody.
 *
 * Errors: MINIKV_INVALID_KEY, MINIKV_INVALID_ARGUMENT, MINIKV_STALE_FENCE, MINIKV_LOCKED, MINIKV_CONFLICT.
 */
minikv_code minikv_lock(const minikv_registry *registry,
                        minikv_bytes key,
                        const minikv_lock_options *options,
                        minikv_entry **entry,
                        minikv_error **err);

/**
 * Unlocks a key. `*entry` is the entry, unchanged if it was not locked, NULL if the key is absent; `entry` may be NULL.
 *
 * Errors: as minikv_delete.
 */
minikv_code minikv_unlock(const minikv_registry *registry,
                          minikv_bytes key,
                          const minikv_write_options *options,
                          minikv_entry **entry,
                          minikv_error **err);

/**
 * Clears the expiry. `*entry` is the entry, NULL if the key is absent; `entry` may be NULL.
 *
 * Errors: as minikv_delete.
 */
minikv_code minikv_persist(const minikv_registry *registry,
                           minikv_bytes key,
                           const minikv_write_options *options,
                           minikv_entry **entry,
                           minikv_error **err);

/**
 * Lets an entry expire so many milliseconds from now. `*entry` is the entry, NULL if the key is absent;
 * `entry` may be NULL.
 *
 * Errors: as minikv_delete.
 */
minikv_code minikv_touch_ms(const minikv_registry *registry,
                            minikv_bytes key,
                            int64_t ttl_ms,
                            const minikv_write_options *options,
                            minikv_entry **entry,
                            minikv_error **err);

/**
 * The same in nanoseconds.
 */
minikv_code minikv_touch_ns(const minikv_registry *registry,
                            minikv_bytes key,
                            int64_t ttl_ns,
                            const minikv_write_options *options,
                            minikv_entry **entry,
                            minikv_error **err);

/**
 * Adds to an int; an absent key counts as 0 and gets the default_ttl, a present one keeps its expiry.
 * `*entry` is the entry; `entry` may be NULL.
 *
 * Errors: as minikv_delete; MINIKV_INVALID_VALUE if it is not an int or would not fit; MINIKV_LIMIT.
 * In a cluster it is atomic on this member only; hold the lock to make it exclusive.
 */
minikv_code minikv_incr(const minikv_registry *registry,
                        minikv_bytes key,
                        int64_t by,
                        const minikv_write_options *options,
                        minikv_entry **entry,
                        minikv_error **err);

/**
 * Options with all defaults and this name, under which minikv_registry_open finds the registry; NULL: no name.
 *
 * Free them with minikv_options_free.
 */
minikv_options *minikv_options_new(const char *name);

/**
 * A copy. NULL of NULL.
 */
minikv_options *minikv_options_clone(const minikv_options *options);

/**
 * Frees options. NULL is fine; a registry that was started from them does not need them.
 */
void minikv_options_free(minikv_options *options);

/**
 * Options from a JSON object of the fields name, node, default_ttl, max_value_bytes, max_entries, max_bytes,
 * max_watchers, lock_lease ("60s": text with a unit of ns us ms s m h d) and clock ("system", "manual"), and for a
 * member of a cluster: cluster, listen, peers (texts or lists of texts), discovery ("multicast"), failure_timeout
 * ("2500ms") and tls (an object of the paths ca, cert and key). A field that is missing or null has its default.
 *
 * Error: MINIKV_INVALID_ARGUMENT; for a misspelt field the message names the nearest right one.
 */
minikv_code minikv_options_from_json(minikv_bytes json,
                                     minikv_options **options,
                                     minikv_error **err);

/**
 * Options from TOML text with the same fields at the top level.
 *
 * Error: MINIKV_INVALID_ARGUMENT.
 */
minikv_code minikv_options_from_toml(minikv_bytes toml,
                                     minikv_options **options,
                                     minikv_error **err);

/**
 * Options from a TOML file.
 *
 * Errors: MINIKV_IO if it cannot be read, MINIKV_INVALID_ARGUMENT.
 */
minikv_code minikv_options_from_config(const char *path,
                                       minikv_options **options,
                                       minikv_error **err);

/**
 * The options as a JSON object of all fields, which minikv_options_from_json reads back.
 * Free `*json` with minikv_string_free.
 *
 * Error: MINIKV_INVALID_ARGUMENT, also for what a setter remembered.
 */
minikv_code minikv_options_json(const minikv_options *options, char **json, minikv_error **err);

/**
 * The node's name, which entries carry as their owner. In a cluster give each member its own. Default "local".
 */
minikv_code minikv_options_set_node(minikv_options *options,
                                    const char *node);

/**
 * The ttl, in milliseconds, of entries that are put without one. Default: none, they do not expire.
 */
minikv_code minikv_options_set_default_ttl_ms(minikv_options *options, int64_t ms);

/**
 * The same in nanoseconds.
 */
minikv_code minikv_options_set_default_ttl_ns(minikv_options *options, int64_t ns);

/**
 * The lease, in milliseconds and at most 10 minutes, of locks that are taken without one.
 * Default: none, they do not end by themselves.
 */
minikv_code minikv_options_set_lock_lease_ms(minikv_options *options, int64_t ms);

/**
 * The same in nanoseconds.
 */
minikv_code minikv_options_set_lock_lease_ns(minikv_options *options, int64_t ns);

/**
 * The largest canonical encoding of a value, in bytes. Default and maximum 16 MiB.
 */
minikv_code minikv_options_set_max_value_bytes(minikv_options *options, uint64_t bytes);

/**
 * The most entries at a time; a put of one more is MINIKV_LIMIT. Default: no limit.
 */
minikv_code minikv_options_set_max_entries(minikv_options *options, uint64_t entries);

/**
 * The most memory for entries, in bytes. Default: no limit.
 */
minikv_code minikv_options_set_max_bytes(minikv_options *options, uint64_t bytes);

/**
 * The most watches at a time. Default 1024.
 */
minikv_code minikv_options_set_max_watchers(minikv_options *options, uint64_t watchers);

/**
 * A clock that starts at 1,700,000,000,000 ms and moves only by minikv_registry_advance_ms; for tests.
 * Not in a cluster. Default: the machine's clock.
 */
minikv_code minikv_options_set_manual_clock(minikv_options *options,
                                            bool manual);

/**
 * As minikv_lock, but never waits: `*pending` may still be waiting. Free it with minikv_pending_lock_free.
 */
minikv_code minikv_lock_start(const minikv_registry *registry,
                              minikv_bytes key,
                              const minikv_lock_options *options,
                              minikv_pending_lock **pending,
                              minikv_error **err);

/**
 * As minikv_locked, but never waits: `*pending` may still be waiting. Free it with minikv_pending_guard_free.
 */
minikv_code minikv_locked_start(const minikv_registry *registry,
                                minikv_bytes key,
                                const minikv_lock_options *options,
                                minikv_pending_guard **pending,
                                minikv_error **err);

/**
 * Waits at most so many milliseconds of real time (0: not at all; MINIKV_FOREVER) for the result, which is given
 * once: `*entry` as of minikv_lock.
 *
 * Errors: MINIKV_TIMEOUT if it is not decided yet; the errors of minikv_lock; MINIKV_INVALID_ARGUMENT if the result
 * was taken before, or another thread is waiting for it.
 */
minikv_code minikv_pending_lock_wait(const minikv_pending_lock *pending,
                                     int64_t timeout_ms,
                                     minikv_entry **entry,
                                     minikv_error **err);

/**
 * Waits for the guard; otherwise as minikv_pending_lock_wait.
 */
minikv_code minikv_pending_guard_wait(const minikv_pending_guard *pending,
                                      int64_t timeout_ms,
                                      minikv_guard **guard,
                                      minikv_error **err);

/**
 * Calls back when the result is there, at once if it is; replaces an earlier callback.
 *
 * Error: MINIKV_INVALID_ARGUMENT if the result was taken, or a thread is waiting for it.
 */
minikv_code minikv_pending_lock_on_ready(const minikv_pending_lock *pending,
                                         minikv_ready_fn callback,
                                         void *user,
                                         minikv_error **err);

/**
 * As minikv_pending_lock_on_ready.
 */
minikv_code minikv_pending_guard_on_ready(const minikv_pending_guard *pending,
                                          minikv_ready_fn callback,
                                          void *user,
                                          minikv_error **err);

/**
 * Leaves the queue, or gives back a lock that was granted and not taken, and frees the request. NULL is fine.
 */
void minikv_pending_lock_free(minikv_pending_lock *pending);

/**
 * As minikv_pending_lock_free.
 */
void minikv_pending_guard_free(minikv_pending_guard *pending);

/**
 * Stores nil.
 *
 * `options` NULL: none. `entry` NULL: not wanted; otherwise free `*entry` with minikv_entry_free.
 * A held lock stays held. Errors: MINIKV_INVALID_KEY, MINIKV_INVALID_ARGUMENT, MINIKV_STALE_FENCE,
 * MINIKV_LOCKED, MINIKV_CONFLICT, MINIKV_LIMIT. In a cluster conditions are checked on this member only.
 */
minikv_code minikv_put_nil(const minikv_registry *registry,
                           minikv_bytes key,
                           const minikv_put_options *options,
                           minikv_entry **entry,
                           minikv_error **err);

/**
 * Stores a bool.
 * Otherwise as minikv_put_nil.
 */
minikv_code minikv_put_bool(const minikv_registry *registry,
                            minikv_bytes key,
                            bool value,
                            const minikv_put_options *options,
                            minikv_entry **entry,
                            minikv_error **err);

/**
 * Stores an int.
 * Otherwise as minikv_put_nil.
 */
minikv_code minikv_put_int(const minikv_registry *registry,
                           minikv_bytes key,
                           int64_t value,
                           const minikv_put_options *options,
                           minikv_entry **entry,
                           minikv_error **err);

/**
 * Stores a float; every NaN as the same one.
 * Otherwise as minikv_put_nil.
 */
minikv_code minikv_put_float(const minikv_registry *registry,
                             minikv_bytes key,
                             double value,
                             const minikv_put_options *options,
                             minikv_entry **entry,
                             minikv_error **err);

/**
 * Stores text, which must be UTF-8 (MINIKV_INVALID_VALUE).
 * Otherwise as minikv_put_nil.
 */
minikv_code minikv_put_text(const minikv_registry *registry,
                            minikv_bytes key,
                            minikv_bytes value,
                            const minikv_put_options *options,
                            minikv_entry **entry,
                            minikv_error **err);

/**
 * Stores bytes.
 * Otherwise as minikv_put_nil.
 */
minikv_code minikv_put_bytes(const minikv_registry *registry,
                             minikv_bytes key,
                             minikv_bytes value,
                             const minikv_put_options *options,
                             minikv_entry **entry,
                             minikv_error **err);

/**
 * Stores what a JSON text says.
 *
 * Whole numbers are ints (outside signed 64 bit: MINIKV_INVALID_VALUE), those with a point or an exponent
 * floats. Malformed JSON is MINIKV_INVALID_VALUE.
 * Otherwise as minikv_put_nil.
 */
minikv_code minikv_put_json(const minikv_registry *registry,
                            minikv_bytes key,
                            minikv_bytes value,
                            const minikv_put_options *options,
                            minikv_entry **entry,
                            minikv_error **err);

/**
 * Stores a copy of a value that you built or read.
 * Otherwise as minikv_put_nil.
 */
minikv_code minikv_put_value(const minikv_registry *registry,
                             minikv_bytes key,
                             const minikv_value *value,
                             const minikv_put_options *options,
                             minikv_entry **entry,
                             minikv_error **err);

/**
 * Stores nil through a guard, with the guard's owner and fence.
 *
 * Of the options (NULL: none) ttl, persist, keep_ttl, if_absent and if_version count. `entry` NULL: not
 * wanted; otherwise free `*entry` with minikv_entry_free. Errors: MINIKV_LOCK_LOST and those of minikv_put_nil.
 */
minikv_code minikv_guard_put_nil(const minikv_guard *guard,
                                 const minikv_put_options *options,
                                 minikv_entry **entry,
                                 minikv_error **err);

/**
 * Stores a bool through a guard, with the guard's owner and fence.
 * Otherwise as minikv_guard_put_nil.
 */
minikv_code minikv_guard_put_bool(const minikv_guard *guard,
                                  bool value,
                                  const minikv_put_options *options,
                                  minikv_entry **entry,
                                  minikv_error **err);

/**
 * Stores an int through a guard, with the guard's owner and fence.
 * Otherwise as minikv_guard_put_nil.
 */
minikv_code minikv_guard_put_int(const minikv_guard *guard,
                                 int64_t value,
                                 const minikv_put_options *options,
                                 minikv_entry **entry,
                                 minikv_error **err);

/**
 * Stores a float; every NaN as the same one through a guard, with the guard's owner and fence.
 * Otherwise as minikv_guard_put_nil.
 */
minikv_code minikv_guard_put_float(const minikv_guard *guard,
                                   double value,
                                   const minikv_put_options *options,
                                   minikv_entry **entry,
                                   minikv_error **err);

/**
 * Stores text, which must be UTF-8 (MINIKV_INVALID_VALUE) through a guard, with the guard's owner and fence.
 * Otherwise as minikv_guard_put_nil.
 */
minikv_code minikv_guard_put_text(const minikv_guard *guard,
                                  minikv_bytes value,
                                  const minikv_put_options *options,
                                  minikv_entry **entry,
                                  minikv_error **err);

/**
 * Stores bytes through a guard, with the guard's owner and fence.
 * Otherwise as minikv_guard_put_nil.
 */
minikv_code minikv_guard_put_bytes(const minikv_guard *guard,
                                   minikv_bytes value,
                                   const minikv_put_options *options,
                                   minikv_entry **entry,
                                   minikv_error **err);

/**
 * Stores what a JSON text says through a guard, with the guard's owner and fence.
 * Otherwise as minikv_guard_put_nil.
 */
minikv_code minikv_guard_put_json(const minikv_guard *guard,
                                  minikv_bytes value,
                                  const minikv_put_options *options,
                                  minikv_entry **entry,
                                  minikv_error **err);

/**
 * Stores a copy of a value that you built or read through a guard, with the guard's owner and fence.
 * Otherwise as minikv_guard_put_nil.
 */
minikv_code minikv_guard_put_value(const minikv_guard *guard,
                                   const minikv_value *value,
                                   const minikv_put_options *options,
                                   minikv_entry **entry,
                                   minikv_error **err);

/**
 * Starts a registry. Free `*registry` with minikv_registry_free.
 *
 * In a cluster it waits a moment, at most half a second, for a first word of the peers, and up to two failure timeouts
 * for an earlier member of the same node name to vanish. It does not wait for the first sync: see minikv_wait_synced.
 *
 * Errors: MINIKV_ALREADY_STARTED if one of this name runs in this process, MINIKV_INVALID_ARGUMENT; in a cluster also
 * MINIKV_CLUSTER if a live member has the same node name, MINIKV_IO if it cannot listen or read its certificates, and
 * MINIKV_FORKED in a fork of a process that has had a member.
 */
minikv_code minikv_registry_start(const minikv_options *options,
                                  minikv_registry **registry,
                                  minikv_error **err);

/**
 * Starts a registry as minikv_registry_start, but never waits for other members: for event loops, which go on with
 * minikv_sync_start. That a live member has the same node name shows there, as MINIKV_CLUSTER.
 *
 * Errors: those of minikv_registry_start without MINIKV_CLUSTER.
 */
minikv_code minikv_registry_start_now(const minikv_options *options,
                                      minikv_registry **registry,
                                      minikv_error **err);

/**
 * Starts a registry, or gives a handle to the running one of this name if its options agree.
 *
 * Errors: MINIKV_ALREADY_STARTED, naming the options that differ; the others of minikv_registry_start.
 */
minikv_code minikv_registry_start_or_open(const minikv_options *options,
                                          minikv_registry **registry,
                                          minikv_error **err);

/**
 * Gives a further handle to the registry of this name that was started in this process, from any thread.
 *
 * Error: MINIKV_NOT_FOUND.
 */
minikv_code minikv_registry_open(const char *name,
                                 minikv_registry **registry,
                                 minikv_error **err);

/**
 * Gives a further handle to the same registry.
 */
minikv_code minikv_registry_clone(const minikv_registry *registry,
                                  minikv_registry **clone,
                                  minikv_error **err);

/**
 * Keeps the registry running until minikv_registry_stop, also when the last handle is freed.
 */
minikv_code minikv_registry_keep_running(const minikv_registry *registry);

/**
 * Stops the registry for all handles; once more is fine. Waiting calls and all later ones get MINIKV_STOPPED.
 *
 * A member of a cluster sends first what is still to be sent and says good-bye, which may take some seconds if the
 * others do not answer. So it may when the last handle is freed.
 */
minikv_code minikv_registry_stop(const minikv_registry *registry);

/**
 * Frees a handle; the last one of a registry stops it. NULL is fine.
 */
void minikv_registry_free(minikv_registry *registry);

/**
 * MINIKV_STOPPED or MINIKV_FORKED if the registry cannot be used.
 */
minikv_code minikv_registry_check(const minikv_registry *registry, minikv_error **err);

/**
 * A copy of the options that the registry was started with. Free `*options` with minikv_options_free.
 */
minikv_code minikv_registry_options(const minikv_registry *registry,
                                    minikv_options **options,
                                    minikv_error **err);

/**
 * Counts what the registry holds and does: `minikv_registry_stats(kv, &stats, sizeof stats, &err)`.
 *
 * Of a `stats` that is larger than the library knows the rest becomes zero.
 */
minikv_code minikv_registry_stats(const minikv_registry *registry,
                                  minikv_stats *stats,
                                  size_t size,
                                  minikv_error **err);

/**
 * Moves a manual clock on by so many milliseconds. Every expiry, lease end, renewal and elapsed wait on the
 * way is processed, in order of time, before it returns.
 *
 * Error: MINIKV_INVALID_ARGUMENT on a system clock, or for a negative number.
 */
minikv_code minikv_registry_advance_ms(const minikv_registry *registry,
                                       int64_t ms,
                                       minikv_error **err);

/**
 * The same in nanoseconds.
 */
minikv_code minikv_registry_advance_ns(const minikv_registry *registry,
                                       int64_t ns,
                                       minikv_error **err);

/**
 * A digest of all keys and values: equal contents have equal digests, in every process and language.
 * Owners, times, expiries and locks do not count. Free `*digest` with minikv_string_free.
 */
minikv_code minikv_digest(const minikv_registry *registry,
                          char **digest,
                          minikv_error **err);

/**
 * Whether the first sync with the cluster is done, so that reads see what the others had; a registry by itself is
 * always ready.
 */
minikv_code minikv_ready(const minikv_registry *registry,
                         bool *ready,
                         minikv_error **err);

/**
 * Waits until the first sync with the cluster is done, at most so many milliseconds of real time, or
 * MINIKV_FOREVER; a registry by itself has nothing to wait for.
 *
 * Errors: MINIKV_TIMEOUT, whose message tells how far it is; MINIKV_CLUSTER if the registry could not join, as a live
 * member has the same node name; MINIKV_STOPPED if it is stopped meanwhile; MINIKV_INVALID_ARGUMENT for a negative
 * number.
 */
minikv_code minikv_wait_synced(const minikv_registry *registry,
                               int64_t timeout_ms,
                               minikv_error **err);

/**
 * As minikv_wait_synced, but never waits: `*pending` may still be waiting. Free it with minikv_pending_sync_free.
 */
minikv_code minikv_sync_start(const minikv_registry *registry,
                              minikv_pending_sync **pending,
                              minikv_error **err);

/**
 * Waits at most so many milliseconds of real time (0: not at all; MINIKV_FOREVER) for the first sync. What comes of
 * it is given once.
 *
 * Errors: MINIKV_TIMEOUT if it is not done yet; the others of minikv_wait_synced; MINIKV_INVALID_ARGUMENT also if the
 * result was taken before, or another thread is waiting for it.
 */
minikv_code minikv_pending_sync_wait(const minikv_pending_sync *pending,
                                     int64_t timeout_ms,
                                     minikv_error **err);

/**
 * Calls back when the first sync is done or has failed, at once if it is; replaces an earlier callback.
 *
 * Error: MINIKV_INVALID_ARGUMENT if the result was taken, or a thread is waiting for it.
 */
minikv_code minikv_pending_sync_on_ready(const minikv_pending_sync *pending,
                                         minikv_ready_fn callback,
                                         void *user,
                                         minikv_error **err);

/**
 * Ends the wait and frees it; the sync goes on. NULL is fine.
 */
void minikv_pending_sync_free(minikv_pending_sync *pending);

/**
 * Replaces a value by what `update` makes of it. A present entry keeps its expiry, a new one gets the
 * default_ttl. `*entry` is the entry afterwards, the removed one after MINIKV_UPDATE_DELETE, or NULL; `entry` may be NULL.
 *
 * Errors: MINIKV_CALLBACK, with nothing changed; those of minikv_put_value. Who has not the lock is refused
 * before the callback is called. In a cluster it is atomic on this member only; hold the lock to make it exclusive.
 */
minikv_code minikv_update(const minikv_registry *registry,
                          minikv_bytes key,
                          minikv_update_fn update,
                          void *user,
                          const minikv_write_options *options,
                          minikv_entry **entry,
                          minikv_error **err);

/**
 * As minikv_update, through a guard.
 *
 * Errors: MINIKV_LOCK_LOST; otherwise those of minikv_update.
 */
minikv_code minikv_guard_update(const minikv_guard *guard,
                                minikv_update_fn update,
                                void *user,
                                minikv_entry **entry,
                                minikv_error **err);

/**
 * Gives the entry of a key; an absent one is computed by one caller, for whom the others in this process
 * wait, and stored with the options. `*entry` is the entry; `entry` may be NULL.
 *
 * Errors: MINIKV_CALLBACK, with nothing stored, and the next who waits computes; those of minikv_put_value.
 * In a cluster one caller of each member may compute; hold the lock to make it exclusive.
 */
minikv_code minikv_get_or_put(const minikv_registry *registry,
                              minikv_bytes key,
                              minikv_compute_fn compute,
                              void *user,
                              const minikv_put_options *options,
                              minikv_entry **entry,
                              minikv_error **err);

/**
 * The name of a type, such as "int"; "none" for MINIKV_NONE, NULL for a number that is none. Lives for ever.
 */
const char *minikv_type_name(int32_t value_type);

/**
 * An empty value to build. Free it with minikv_value_free.
 */
minikv_value *minikv_value_new(void);

/**
 * Frees a value that you built, or that minikv_get_value gave. Not one that is borrowed. NULL is fine.
 */
void minikv_value_free(minikv_value *value);

/**
 * Adds nil.
 */
minikv_code minikv_value_add_nil(minikv_value *value);

/**
 * Adds a bool.
 */
minikv_code minikv_value_add_bool(minikv_value *value, bool item);

/**
 * Adds an int.
 */
minikv_code minikv_value_add_int(minikv_value *value, int64_t item);

/**
 * Adds a float. Every NaN is stored as the same one.
 */
minikv_code minikv_value_add_float(minikv_value *value, double item);

/**
 * Adds text, which must be UTF-8. Copied.
 */
minikv_code minikv_value_add_text(minikv_value *value, minikv_bytes item);

/**
 * Adds bytes. Copied.
 */
minikv_code minikv_value_add_bytes(minikv_value *value, minikv_bytes item);

/**
 * Adds what a JSON text says; see minikv_put_json.
 */
minikv_code minikv_value_add_json(minikv_value *value, minikv_bytes json);

/**
 * Adds a copy of another value, which must be complete.
 */
minikv_code minikv_value_add_value(minikv_value *value, const minikv_value *item);

/**
 * Starts a list: add its items, then minikv_value_end. Lists and maps nest at most 128 deep.
 */
minikv_code minikv_value_begin_list(minikv_value *value);

/**
 * Starts a map: for each entry add a key and a value, then minikv_value_end.
 */
minikv_code minikv_value_begin_map(minikv_value *value);

/**
 * Adds the key of a map's next entry, which must be UTF-8. Copied. Of equal keys the last one counts.
 */
minikv_code minikv_value_add_key(minikv_value *value,
                                 minikv_bytes key);

/**
 * Ends the innermost open list or map.
 */
minikv_code minikv_value_end(minikv_value *value);

/**
 * The type; MINIKV_NONE for NULL and while the value is not complete.
 */
minikv_type minikv_value_type(const minikv_value *value);

/**
 * Whether it is a bool; sets `*out` if it is and `out` is not NULL.
 */
bool minikv_value_as_bool(const minikv_value *value, bool *out);

/**
 * Whether it is an int; sets `*out` if it is and `out` is not NULL.
 */
bool minikv_value_as_int(const minikv_value *value, int64_t *out);

/**
 * Whether it is a float; sets `*out` if it is and `out` is not NULL.
 */
bool minikv_value_as_float(const minikv_value *value, double *out);

/**
 * Whether it is text; sets `*out` (borrowed, UTF-8) if it is and `out` is not NULL.
 */
bool minikv_value_as_text(const minikv_value *value, minikv_bytes *out);

/**
 * Whether it is bytes; sets `*out` (borrowed) if it is and `out` is not NULL.
 */
bool minikv_value_as_bytes(const minikv_value *value, minikv_bytes *out);

/**
 * How many items a list or entries a map has; 0 for every other type.
 */
size_t minikv_value_count(const minikv_value *value);

/**
 * The item of a list, or the value of a map's entry, at a place from 0; NULL past the end. Borrowed.
 */
const minikv_value *minikv_value_at(const minikv_value *value,
                                    size_t place);

/**
 * The key of a map's entry at a place from 0, in the order of the keys' bytes; {NULL, 0} past the end. Borrowed.
 */
minikv_bytes minikv_value_key_at(const minikv_value *value,
                                 size_t place);

/**
 * The value under a key of a map; NULL if there is none. Borrowed.
 */
const minikv_value *minikv_value_get(const minikv_value *value, minikv_bytes key);

/**
 * Whether both are complete and equal: of one type and worth, floats by their bits (all NaNs are equal).
 */
bool minikv_value_equal(const minikv_value *value,
                        const minikv_value *other);

/**
 * The value as JSON. Free `*json` with minikv_string_free.
 *
 * Error: MINIKV_INVALID_VALUE if it is not complete, or a part has no JSON form: bytes, NaN, infinity.
 */
minikv_code minikv_value_json(const minikv_value *value,
                              char **json,
                              minikv_error **err);

/**
 * Reads the value of a key into `*view`. `*found` is whether the key is present; if not, the view is empty.
 * What was in `*view` is not looked at: free one that is filled before it is used again.
 *
 * A failed call leaves an empty view, unlike other outputs: minikv_view_free may follow in any case.
 *
 * Error: MINIKV_INVALID_KEY.
 */
minikv_code minikv_view_get(const minikv_registry *registry,
                            minikv_bytes key,
                            minikv_view *view,
                            bool *found,
                            minikv_error **err);

/**
 * Frees what a view holds and makes it empty. NULL is fine, and so is a view that is empty.
 */
void minikv_view_free(minikv_view *view);

/**
 * Opens a watch to be read with minikv_watch_next or minikv_watch_try_next. `options` NULL: every key.
 * Free `*watch` with minikv_watch_free.
 *
 * Errors: MINIKV_INVALID_KEY, MINIKV_INVALID_ARGUMENT, MINIKV_LIMIT (max_watchers).
 */
minikv_code minikv_watch_open(const minikv_registry *registry,
                              const minikv_watch_options *options,
                              minikv_watch **watch,
                              minikv_error **err);

/**
 * Opens a watch that calls back for each event. minikv_watch_free waits for a callback that is running, unless
 * it is called from within it; a thread that frees must not hold what the callback waits for.
 *
 * Errors: as minikv_watch_open; MINIKV_IO if no thread can be started.
 */
minikv_code minikv_watch_start(const minikv_registry *registry,
                               const minikv_watch_options *options,
                               minikv_event_fn callback,
                               void *user,
                               minikv_watch **watch,
                               minikv_error **err);

/**
 * Waits for the next event, at most so many milliseconds of real time, or MINIKV_FOREVER. `*event` is NULL if
 * the watch or the registry has ended; otherwise free it with minikv_event_free.
 *
 * Errors: MINIKV_TIMEOUT; MINIKV_INVALID_ARGUMENT for a negative number, or a watch that calls back.
 */
minikv_code minikv_watch_next(const minikv_watch *watch,
                              int64_t timeout_ms,
                              minikv_event **event,
                              minikv_error **err);

/**
 * Takes the next event if there is one, without waiting. `*event` is NULL if there is none; minikv_watch_is_closed
 * tells whether one may still come.
 *
 * Error: MINIKV_INVALID_ARGUMENT for a watch that calls back.
 */
minikv_code minikv_watch_try_next(const minikv_watch *watch,
                                  minikv_event **event,
                                  minikv_error **err);

/**
 * Whether no event will come after those still queued: the registry stopped. True of NULL, and in a forked child.
 */
bool minikv_watch_is_closed(const minikv_watch *watch);

/**
 * Gives a descriptor for poll, select or epoll. It is readable when events may be queued and when the watch has
 * ended; then call minikv_watch_try_next until it gives NULL. It belongs to the watch: do not read or close it.
 *
 * Errors: MINIKV_IO; MINIKV_INVALID_ARGUMENT for a watch that calls back.
 */
minikv_code minikv_watch_fd(const minikv_watch *watch,
                            int32_t *fd,
                            minikv_error **err);

/**
 * Ends a watch and frees it. NULL is fine.
 */
void minikv_watch_free(minikv_watch *watch);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* MINIKV_H */

/** The span of a C string, without its zero. Of NULL: {NULL, 0}. */
static inline minikv_bytes minikv_str(const char *string)
{
    minikv_bytes bytes;
    bytes.ptr = (const uint8_t *)string;
    bytes.len = string == NULL ? 0 : strlen(string);
    return bytes;
}

/** The span of `len` bytes at `ptr`. */
static inline minikv_bytes minikv_span(const void *ptr, size_t len)
{
    minikv_bytes bytes;
    bytes.ptr = (const uint8_t *)ptr;
    bytes.len = len;
    return bytes;
}

/* set is another name of put, as in the other languages. */
#define minikv_set_nil minikv_put_nil
#define minikv_set_bool minikv_put_bool
#define minikv_set_int minikv_put_int
#define minikv_set_float minikv_put_float
#define minikv_set_text minikv_put_text
#define minikv_set_bytes minikv_put_bytes
#define minikv_set_json minikv_put_json
#define minikv_set_value minikv_put_value
