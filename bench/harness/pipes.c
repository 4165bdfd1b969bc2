// Closed-loop RESP2 load whose batches may end with a second command, as redis-benchmark cannot.
//
//     pipes PORTS CONNECTIONS REQUESTS PIPELINE SEED COMMAND... [each|once TAIL...]
//
// Connections are dealt to PORTS (comma-separated, on 127.0.0.1) in turns. Each sends a batch of
// PIPELINE commands, reads all replies, sends the next. `__rand_int__` in COMMAND becomes a random
// user out of 2^31, 12 digits with leading zeros. TAIL follows each command, or once the batch;
// its reply has to be an integer above 0 (WAIT: how many replicas have it). Any error is fatal.
// Prints one JSON object. Latencies are those of whole batches.
//
// Limits: 1,024 connections, pipelines of 1,024, 16 ports, commands of 1,000 bytes.

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST_CONNECTIONS = 1024, MOST_PIPELINE = 1024, MOST_PORTS = 16, MOST_COMMAND = 1000 };
enum { INPUT_BYTES = 1 << 18, USER_DIGITS = 12 };
enum tail { TAIL_NONE, TAIL_EACH, TAIL_ONCE };

static const char USER_FIELD[] = "__rand_int__";

struct command {
    char bytes[MOST_COMMAND];
    size_t length;
    size_t user_at;  // where the user's digits are; SIZE_MAX: nowhere
};

struct connection {
    int descriptor;
    size_t filled;
    unsigned commands, replies, expected;  // of the batch under way
    uint64_t sent_ns;
    char *input;
};

static struct command command, tail;
static enum tail tail_place = TAIL_NONE;
static struct connection connections[MOST_CONNECTIONS];
static unsigned pipeline;
static uint64_t unsent, done, requests, random_state;
static uint32_t *latencies_us;
static uint64_t batches;

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...) {
    va_list list;
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fputc('\n', stderr);
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

// xorshift64* (Vigna, 2016): 31 bits of a user.
static uint32_t next_user(void) {
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (uint32_t)((random_state * 2685821657736338717u) >> 33);
}

static uint64_t number(const char *text, uint64_t most) {
    char *end;
    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    if (errno || end == text || *end || !value || value > most) fail("not a number: %s", text);
    return value;
}

static void append(struct command *into, const char *format, ...) {
    va_list list;
    va_start(list, format);
    size_t room = sizeof into->bytes - into->length;
    int wrote = vsnprintf(into->bytes + into->length, room, format, list);
    va_end(list);
    if (wrote < 0 || (size_t)wrote >= room) fail("the command is too long");
    into->length += (size_t)wrote;
}

static void encode(struct command *into, char **words, int count) {
    into->length = 0;
    into->user_at = SIZE_MAX;
    append(into, "*%d\r\n", count);
    for (int at = 0; at < count; at++) {
        append(into, "$%zu\r\n", strlen(words[at]));
        if (!strcmp(words[at], USER_FIELD)) into->user_at = into->length;
        append(into, "%s\r\n", words[at]);
    }
}

static char *put(char *place, const struct command *source) {
    memcpy(place, source->bytes, source->length);
    if (source->user_at != SIZE_MAX) {
        uint32_t user = next_user();
        for (int digit = USER_DIGITS - 1; digit >= 0; digit--, user /= 10)
            place[source->user_at + (size_t)digit] = (char)('0' + user % 10);
    }
    return place + source->length;
}

// The next batch, if requests are left. The server has answered everything that this connection
// has sent, so a send that blocks ends: the server reads.
static void send_batch(struct connection *one) {
    static char output[MOST_PIPELINE * 2 * MOST_COMMAND];
    one->commands = unsent < pipeline ? (unsigned)unsent : pipeline;
    one->replies = one->expected = 0;
    if (!one->commands) return;
    unsent -= one->commands;
    one->expected = one->commands * (tail_place == TAIL_EACH ? 2 : 1) + (tail_place == TAIL_ONCE);
    char *end = output;
    for (unsigned at = 0; at < one->commands; at++) {
        end = put(end, &command);
        if (tail_place == TAIL_EACH) end = put(end, &tail);
    }
    if (tail_place == TAIL_ONCE) end = put(end, &tail);
    one->sent_ns = now_ns();
    for (char *from = output; from < end;) {
        ssize_t sent = send(one->descriptor, from, (size_t)(end - from), MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR) fail("send: %s", strerror(errno));
        if (sent > 0) from += sent;
    }
}

// The end of the reply that begins at `from`; NULL while it is incomplete.
static const char *reply_end(const char *from, const char *end) {
    const char *line = memchr(from, '\n', (size_t)(end - from));
    if (!line) return NULL;
    const char *next = line + 1;
    switch (*from) {
        case '+': case ':': return next;
        case '-': fail("an error: %.*s", (int)(line - from), from);
        case '$': {
            long length = strtol(from + 1, NULL, 10);
            if (length < 0) return next;
            return end - next >= length + 2 ? next + length + 2 : NULL;
        }
        case '*': {
            long items = strtol(from + 1, NULL, 10);
            for (; items > 0 && next; items--) next = next < end ? reply_end(next, end) : NULL;
            return next;
        }
        default: fail("not RESP2: byte %d", *from);
    }
}

static bool is_of_tail(const struct connection *one) {
    switch (tail_place) {
        case TAIL_NONE: return false;
        case TAIL_EACH: return one->replies % 2 == 1;
        case TAIL_ONCE: return one->replies + 1 == one->expected;
    }
    abort();
}

static void receive(struct connection *one) {
    ssize_t count = recv(
        one->descriptor, one->input + one->filled, INPUT_BYTES - one->filled, MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (count <= 0) fail("the server closed a connection");
    one->filled += (size_t)count;
    const char *from = one->input, *end = one->input + one->filled;
    while (from < end) {
        const char *next = reply_end(from, end);
        if (!next) break;
        if (one->replies == one->expected) fail("a reply that nobody asked for");
        if (is_of_tail(one) && (*from != ':' || from[1] < '1'))
            fail("the tail's reply: %.*s", (int)(next - from), from);
        one->replies++;
        from = next;
    }
    one->filled = (size_t)(end - from);
    if (one->filled == INPUT_BYTES) fail("a reply is too long");
    memmove(one->input, from, one->filled);
    if (one->replies == one->expected) {
        latencies_us[batches++] = (uint32_t)((now_ns() - one->sent_ns) / 1000);
        done += one->commands;
        send_batch(one);
    }
}

static int dial(uint16_t port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int one = 1, descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0 || connect(descriptor, (struct sockaddr *)&address, sizeof address))
        fail("port %u: %s", port, strerror(errno));
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return descriptor;
}

static int by_value(const void *left, const void *right) {
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

static unsigned read_ports(char *text, uint16_t *ports) {
    unsigned count = 0;
    for (char *word = strtok(text, ","); word; word = strtok(NULL, ",")) {
        if (count == MOST_PORTS) fail("too many ports");
        ports[count++] = (uint16_t)number(word, UINT16_MAX);
    }
    if (!count) fail("no port");
    return count;
}

static void run(unsigned count, const uint16_t *ports, unsigned port_count) {
    int poller = epoll_create1(EPOLL_CLOEXEC);
    if (poller < 0) fail("epoll: %s", strerror(errno));
    for (unsigned at = 0; at < count; at++) {
        struct connection *one = &connections[at];
        one->descriptor = dial(ports[at % port_count]);
        one->input = malloc(INPUT_BYTES);
        if (!one->input) fail("out of memory");
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = one};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, one->descriptor, &event))
            fail("epoll: %s", strerror(errno));
    }
    for (unsigned at = 0; at < count; at++) send_batch(&connections[at]);
    while (done < requests) {
        struct epoll_event events[256];
        int ready = epoll_wait(poller, events, 256, 30000);
        if (ready < 0 && errno != EINTR) fail("epoll: %s", strerror(errno));
        if (ready == 0) fail("no answer for 30 seconds");
        for (int at = 0; at < ready; at++) receive(events[at].data.ptr);
    }
}

int main(int argc, char **argv) {
    if (argc < 7) fail("usage: pipes PORTS CONNECTIONS REQUESTS PIPELINE SEED COMMAND...");
    uint16_t ports[MOST_PORTS];
    unsigned port_count = read_ports(argv[1], ports);
    unsigned count = (unsigned)number(argv[2], MOST_CONNECTIONS);
    unsent = requests = number(argv[3], UINT32_MAX);
    pipeline = (unsigned)number(argv[4], MOST_PIPELINE);
    random_state = number(argv[5], UINT64_MAX);
    int words = 6;
    while (words < argc && strcmp(argv[words], "each") && strcmp(argv[words], "once")) words++;
    encode(&command, argv + 6, words - 6);
    if (words < argc) {
        tail_place = !strcmp(argv[words], "each") ? TAIL_EACH : TAIL_ONCE;
        encode(&tail, argv + words + 1, argc - words - 1);
    }
    latencies_us = malloc((requests / pipeline + count + 1) * sizeof *latencies_us);
    if (!latencies_us) fail("out of memory");
    uint64_t began = now_ns();
    run(count, ports, port_count);
    double seconds = (double)(now_ns() - began) / 1e9;
    qsort(latencies_us, batches, sizeof *latencies_us, by_value);
    printf("{\"requests\": %llu, \"rate\": %.2f, \"p50_ms\": %.3f, \"p99_ms\": %.3f}\n",
           (unsigned long long)done, (double)done / seconds, latencies_us[batches / 2] / 1e3,
           latencies_us[(uint64_t)((double)batches * 0.99)] / 1e3);
    return 0;
}
