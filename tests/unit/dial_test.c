/* The resolver is the test's: getaddrinfo() below stands before the system's. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "record/clock.h"
#include "record/dial.h"

/* ---- a resolver that answers when and what the test wants ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int held, calls;       /* held: answers wait */
static const char *answer[8]; /* addresses, NULL ends */
static int failure;           /* EAI_…, when there is no answer */
static struct tape_url url;   /* of the test */
static int wake_fd, epoll_fd, owner;
static struct tape_resolver *resolver;

static struct addrinfo *make(const char *text, const char *port)
{
    struct addrinfo *a = calloc(1, sizeof *a);
    struct sockaddr_storage *to = calloc(1, sizeof *to);
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)to;
    struct sockaddr_in *four = (struct sockaddr_in *)to;
    assert_true(a && to);
    a->ai_addr = (struct sockaddr *)to;
    if (strchr(text, ':')) {
        a->ai_family = six->sin6_family = AF_INET6;
        inet_pton(AF_INET6, text, &six->sin6_addr);
        six->sin6_port = htons((uint16_t)strtol(port, NULL, 10));
        a->ai_addrlen = sizeof *six;
    } else {
        a->ai_family = four->sin_family = AF_INET;
        inet_pton(AF_INET, text, &four->sin_addr);
        four->sin_port = htons((uint16_t)strtol(port, NULL, 10));
        a->ai_addrlen = sizeof *four;
    }
    return a;
}

int getaddrinfo(const char *name, const char *port, const struct addrinfo *hints,
                struct addrinfo **found)
{
    unsigned char address[16];
    struct addrinfo **last = found;
    *found = NULL;
    if (inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1) {
        *found = make(name, port);
        return 0;
    }
    if (hints->ai_flags & AI_NUMERICHOST)
        return EAI_NONAME;
    pthread_mutex_lock(&lock);
    calls++;
    pthread_cond_broadcast(&changed);
    while (held)
        pthread_cond_wait(&changed, &lock);
    for (int i = 0; answer[i]; i++) {
        *last = make(answer[i], port);
        last = &(*last)->ai_next;
    }
    int result = *found ? 0 : failure;
    pthread_mutex_unlock(&lock);
    return result;
}

void freeaddrinfo(struct addrinfo *a)
{
    while (a) {
        struct addrinfo *next = a->ai_next;
        free(a->ai_addr);
        free(a);
        a = next;
    }
}

static void answers(int hold, int eai, const char *first, const char *second, const char *third)
{
    pthread_mutex_lock(&lock);
    held = hold;
    failure = eai;
    answer[0] = first;
    answer[1] = second;
    answer[2] = third;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void wait_for_calls(int wanted)
{
    pthread_mutex_lock(&lock);
    while (calls < wanted)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

/* ---- the rig ---- */

static int set_up(void **state)
{
    (void)state;
    calls = 0;
    wake_fd = eventfd(0, EFD_CLOEXEC);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    resolver = tape_resolve_new(wake_fd, NULL);
    return resolver ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    tape_resolve_free(resolver);
    close(epoll_fd);
    close(wake_fd);
    return 0;
}

static int listen_on(const char *text, int *port)
{
    struct addrinfo *a = make(text, "0");
    struct sockaddr_in bound;
    socklen_t bytes = sizeof bound;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_return_code(bind(fd, a->ai_addr, a->ai_addrlen), errno);
    assert_return_code(listen(fd, 8), errno);
    assert_return_code(getsockname(fd, (struct sockaddr *)&bound, &bytes), errno);
    *port = ntohs(bound.sin_port);
    freeaddrinfo(a);
    return fd;
}

static void set_url(const char *host, int secure, int port)
{
    char text[128];
    snprintf(text, sizeof text, "%s://%s:%d/", secure ? "wss" : "ws", host, port);
    assert_int_equal(tape_url_parse(text, &url, NULL), TAPE_OK);
}

/* Steps until something comes of it. */
static int dial_to_the_end(struct tape_dial *dial, struct tape_error *error)
{
    int status;
    while ((status = tape_dial_step(dial, tape_clock_monotonic(), error)) == 0)
        poll(NULL, 0, 5);
    return status;
}

static void begin(struct tape_dial *dial)
{
    assert_int_equal(
        tape_dial_begin(dial, &url, resolver, epoll_fd, &owner, tape_clock_monotonic(), NULL),
        TAPE_OK);
}

/* ---- tests ---- */

static void an_address_needs_no_resolver(void **state)
{
    struct tape_dial dial;
    struct tape_error error;
    struct epoll_event event;
    int port, listener = listen_on("127.0.0.1", &port);
    char peer[32];
    (void)state;
    set_url("127.0.0.1", 1, port);
    begin(&dial);
    assert_int_equal(dial_to_the_end(&dial, &error), 1);
    assert_int_equal(calls, 0);
    snprintf(peer, sizeof peer, "127.0.0.1:%d", port);
    assert_string_equal(dial.peer, peer);
    assert_int_equal(epoll_wait(epoll_fd, &event, 1, 1000), 1);
    assert_ptr_equal(event.data.ptr, &owner);
    tape_dial_end(&dial);
    assert_return_code(close(dial.fd), errno); /* it was handed out and is ours */
    close(listener);
}

static void a_slow_resolver_holds_nobody_up(void **state)
{
    struct tape_dial dial, other, third;
    struct tape_error error;
    uint64_t count;
    int port, listener = listen_on("127.0.0.1", &port);
    (void)state;
    set_url("slow.example", 1, port);
    answers(1, 0, "127.0.0.1", NULL, NULL);
    begin(&dial);
    begin(&other);
    begin(&third);
    wait_for_calls(1);
    assert_int_equal(tape_dial_step(&dial, tape_clock_monotonic(), &error), 0);
    assert_true(tape_dial_is_resolving(&dial));
    tape_dial_end(&third); /* given up while it waits */
    answers(0, 0, "127.0.0.1", NULL, NULL);
    assert_int_equal(read(wake_fd, &count, sizeof count), sizeof count);
    assert_int_equal(dial_to_the_end(&dial, &error), 1);
    assert_int_equal(dial_to_the_end(&other, &error), 1);
    assert_int_equal(calls, 1); /* one question for all who ask it */
    close(dial.fd);
    close(other.fd);
    tape_dial_end(&dial);
    tape_dial_end(&other);
    close(listener);
}

/* The resolver is freed while its worker waits: the worker ends by itself, later. */
static void all_may_go_before_the_answer(void **state)
{
    struct tape_dial dial;
    (void)state;
    set_url("never.example", 1, 1);
    answers(1, EAI_AGAIN, NULL, NULL, NULL);
    begin(&dial);
    wait_for_calls(1);
    tape_dial_end(&dial);
    tape_resolve_free(resolver);
    answers(0, EAI_AGAIN, NULL, NULL, NULL);
    resolver = tape_resolve_new(wake_fd, NULL);
    assert_non_null(resolver);
}

static void a_failure_has_words(void **state)
{
    static const struct {
        int eai, secure;
        const char *address, *text;
    } rows[] = {
        {EAI_NONAME, 1, NULL, "resolve \"some.example\": Name or service not known"},
        {EAI_AGAIN, 1, NULL, "resolve \"some.example\": Temporary failure in name resolution"},
        {0, 0, "192.0.2.1", "resolve \"localhost\": no loopback address"},
        {0, 0, "2001:db8::1", "resolve \"localhost\": no loopback address"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tape_dial dial;
        struct tape_error error = {0};
        set_url(rows[i].secure ? "some.example" : "localhost", rows[i].secure, 9);
        answers(0, rows[i].eai, rows[i].address, NULL, NULL);
        begin(&dial);
        assert_true(dial_to_the_end(&dial, &error) < 0);
        assert_int_equal(dial.cause, TAPE_DIAL_RESOLVE);
        assert_string_equal(error.text, rows[i].text);
        tape_dial_end(&dial);
    }
}

/* 127.0.0.2 and 127.0.0.3 refuse, 127.0.0.1 listens: in whatever place it stands. */
static void the_next_address_is_tried(void **state)
{
    static const char *const rows[][3] = {
        {"127.0.0.1", "127.0.0.2", "127.0.0.3"}, {"127.0.0.2", "127.0.0.1", "127.0.0.3"},
        {"127.0.0.2", "127.0.0.3", "127.0.0.1"}, {"::1", "127.0.0.2", "127.0.0.1"},
        {"127.0.0.2", "::1", "127.0.0.1"},
    };
    int port, listener = listen_on("127.0.0.1", &port);
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tape_dial dial;
        struct tape_error error;
        set_url("some.example", 1, port);
        answers(0, 0, rows[i][0], rows[i][1], rows[i][2]);
        begin(&dial);
        assert_int_equal(dial_to_the_end(&dial, &error), 1);
        assert_memory_equal(dial.peer, "127.0.0.1:", 10);
        tape_dial_end(&dial);
        close(dial.fd);
    }
    close(listener);
}

/* A listener whose queue is full answers nothing: the next address is tried beside it. */
static void a_silent_address_is_not_waited_for(void **state)
{
    struct tape_dial dial;
    struct tape_error error;
    int fill[4], port, listener = listen_on("127.0.0.1", &port);
    struct sockaddr_in silent = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int mute = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)state;
    inet_pton(AF_INET, "127.0.0.5", &silent.sin_addr);
    assert_return_code(bind(mute, (struct sockaddr *)&silent, sizeof silent), errno);
    assert_return_code(listen(mute, 0), errno);
    for (int i = 0; i < 4; i++) {
        fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        connect(fill[i], (struct sockaddr *)&silent, sizeof silent);
    }
    set_url("some.example", 1, port);
    answers(0, 0, "127.0.0.5", "127.0.0.1", NULL);
    begin(&dial);
    assert_int_equal(dial_to_the_end(&dial, &error), 1);
    assert_memory_equal(dial.peer, "127.0.0.1:", 10);
    assert_true(dial.connect_ns >= TAPE_DIAL_STAGGER_NS);
    tape_dial_end(&dial);
    close(dial.fd);
    for (int i = 0; i < 4; i++)
        close(fill[i]);
    close(mute);
    close(listener);
}

static void the_first_trouble_is_told(void **state)
{
    struct tape_dial dial;
    struct tape_error error;
    char text[64];
    int port, listener = listen_on("127.0.0.1", &port);
    (void)state;
    close(listener);
    set_url("some.example", 1, port);
    answers(0, 0, "127.0.0.2", "127.0.0.1", NULL);
    begin(&dial);
    assert_int_equal(dial_to_the_end(&dial, &error), TAPE_FAILED);
    assert_int_equal(dial.cause, TAPE_DIAL_REFUSED);
    assert_int_equal(dial.last_errno, ECONNREFUSED);
    snprintf(text, sizeof text, "127.0.0.2:%d: Connection refused", port);
    assert_string_equal(error.text, text);
    tape_dial_end(&dial);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_address_needs_no_resolver, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_slow_resolver_holds_nobody_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(all_may_go_before_the_answer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_failure_has_words, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_next_address_is_tried, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_silent_address_is_not_waited_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_first_trouble_is_told, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
